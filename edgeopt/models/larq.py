"""Larq's binary layers, an extra: found by what is in a file or model, and imported only then.

Larq is written for ``tf.keras``, which must be Keras 2 (tf_keras) in the process: it is, where
``TF_USE_LEGACY_KERAS`` is set before ``tf.keras`` is first used.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Sequence
from typing import Any

from ..errors import ModelError

# The layers that Larq Compute Engine knows, and those that Larq has besides.
KINDS = (
    "QuantConv1D",
    "QuantConv2D",
    "QuantConv2DTranspose",
    "QuantConv3D",
    "QuantConv3DTranspose",
    "QuantDense",
    "QuantDepthwiseConv2D",
    "QuantLocallyConnected1D",
    "QuantLocallyConnected2D",
    "QuantSeparableConv1D",
    "QuantSeparableConv2D",
)
_IN_FILE = re.compile(rf'"class_name":\s*"(?:\w+>)?(?:{"|".join(KINDS)})"')
# Beside the layers, a configuration names these.
_QUANTIZERS = ("SteSign", "ApproxSign", "SteHeaviside", "SwishSign", "MagnitudeAwareSign", "SteTern", "DoReFa", "NoOp")
_CONSTRAINTS = ("WeightClip", "weight_clip")


def is_in_file(config_text: str) -> bool:
    """Say whether the configuration of a model file has layers of Larq."""
    return _IN_FILE.search(config_text) is not None


def is_binary(layers: Sequence[tuple[str, str]]) -> bool:
    """Say whether a model with these layers (name, class) has layers of Larq."""
    return any(kind in KINDS for _, kind in layers)


def import_larq() -> Any:
    """Import Larq on tf_keras.

    Raises:
        ModelError: It is not installed, or ``tf.keras`` is Keras 3 already.
    """
    if importlib.util.find_spec("larq") is None:
        raise ModelError("Larq's binary layers need larq, which is not installed: pip install 'edgeopt[binary]'.")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    import tensorflow as tf
    import tf_keras

    if tf.keras.layers.Layer is not tf_keras.layers.Layer:
        raise ModelError(
            "Larq needs tf.keras to be Keras 2, and it is Keras 3 in this process; set TF_USE_LEGACY_KERAS=1 before "
            "TensorFlow is imported."
        )
    import larq

    return larq


def larq_objects() -> dict[str, Any]:
    """Return what a model file may name of Larq, by name."""
    larq = import_larq()
    spaces = ((larq.layers, KINDS), (larq.quantizers, _QUANTIZERS), (larq.constraints, _CONSTRAINTS))
    found = {name: getattr(space, name, None) for space, names in spaces for name in names}
    return {name: item for name, item in found.items() if item is not None}
