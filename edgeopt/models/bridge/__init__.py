"""The bridge: a Keras 3 model as the same model in tf_keras (Keras 2), and back.

TFMOT's passes take tf_keras models only. The bridge replays a model's graph with the layers of the other flavour,
copies the weights, and compares the outputs; so a pass can take and return the flavour that its user works in.

It imports what `edgeopt.models` may.
"""

from __future__ import annotations

from typing import Any

from ...errors import UsageError
from ..detect import Flavour
from ..graph.compare import RELATIVE_LIMIT, first_divergence, verify
from ..graph.notes import BridgeNote
from ..load import flavour_of, import_keras
from .build import rebuild
from .registry import register, unregister
from .result import BridgeResult

__all__ = [
    "RELATIVE_LIMIT",
    "BridgeNote",
    "BridgeResult",
    "first_divergence",
    "flatten",
    "register",
    "to_keras3",
    "to_tf_keras",
    "unregister",
    "verify",
]


def to_tf_keras(model: Any, *, seed: int = 0) -> BridgeResult:
    """Return a Keras 3 model as a tf_keras model that computes the same.

    Nested models are replaced by their layers; names, sharing and frozen layers are kept. The result is uncompiled.

    Args:
        model: A `keras.Model`: Functional, Sequential, or subclassed with a `call` that composes layers.
        seed: Seed of the inputs on which both are compared.

    Raises:
        UsageError: `model` is no Keras 3 model.
        ModelError: A layer has no counterpart, or the model is subclassed and no graph.
        ConversionError: The two compute different things; the message names the first layer that does.

    Example:
        >>> to_tf_keras(keras.applications.MobileNetV2(weights=None)).max_difference
        0.0
    """
    return _bridge(model, Flavour.KERAS3, Flavour.TF_KERAS, seed)


def to_keras3(model: Any, *, seed: int = 0) -> BridgeResult:
    """Return a tf_keras model as a Keras 3 model that computes the same; see `to_tf_keras`.

    Args:
        model: A `tf_keras.Model`, without TFMOT's wrappers.
        seed: Seed of the inputs on which both are compared.

    Raises:
        UsageError: `model` is no tf_keras model.
        ModelError: A layer has no counterpart, or the model is subclassed and no graph.
        ConversionError: The two compute different things; the message names the first layer that does.
    """
    return _bridge(model, Flavour.TF_KERAS, Flavour.KERAS3, seed)


def flatten(model: Any, *, seed: int = 0) -> BridgeResult:
    """Return a model of the same flavour with nested models replaced by their layers; the layers are copies.

    Raises:
        UsageError: `model` is no Keras model.
        ModelError: A layer cannot be copied, or the model is subclassed and no graph.
        ConversionError: The two compute different things.
    """
    flavour = flavour_of(model)
    if flavour is None:
        raise UsageError(f"Received {type(model).__name__}; expected a Keras model, of Keras 3 or of tf_keras.")
    return _bridge(model, flavour, flavour, seed)


def _bridge(model: Any, source: Flavour, target: Flavour, seed: int) -> BridgeResult:
    if flavour_of(model) is not source:
        raise UsageError(
            f"Received {type(model).__module__.split('.')[0]}.{type(model).__name__}; expected a {source.value} model."
        )
    if (backend := import_keras(Flavour.KERAS3).backend.backend()) != "tensorflow":
        raise UsageError(
            f"Keras 3 runs on {backend}, and TFLite models come from TensorFlow only; set KERAS_BACKEND=tensorflow."
        )
    bridged, notes = rebuild(model, target)
    reference = model
    if any(str(getattr(layer, "compute_dtype", None)) in _HALF for layer in model._flatten_layers()):
        # Half precision rounds away more than the bridge may change: compare with the same model in float32.
        reference = rebuild(model, source)[0]
        notes.append(
            BridgeNote(str(model.name), "float32", "computes in float32 there, and was compared with itself in float32")
        )
    absolute, relative = verify(reference, bridged, seed=seed)
    return BridgeResult(bridged, absolute, relative, tuple(dict.fromkeys(notes)))


_HALF = ("float16", "bfloat16")
