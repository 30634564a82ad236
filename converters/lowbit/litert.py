"""4-bit weights through litert-quantizer, an extra that is imported when it is used.

Convolutions and fully connected layers get 4-bit weights, one scale for each output channel; all other weights, those
of depthwise convolutions among them, have 8 bits: litert-quantizer knows no other form.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import warnings
from collections.abc import Collection
from typing import Any

import numpy as np

from ...errors import ConversionError
from ..repairs.editing import without_orphans
from ..rewrite import packed, unpacked
from .weights import KINDS, mark_versions

NAME = "litert-quantizer"
_BITS = 4
_EIGHT = 8


def require_litert() -> str:
    """Return the library's name and version.

    Raises:
        ConversionError: It is not installed.
    """
    if importlib.util.find_spec("litert_quantizer") is None:
        raise ConversionError(f"4-bit weights need {NAME}, which is not installed: pip install 'edgeopt[low-bit]'.")
    return f"{NAME} {importlib.metadata.version(NAME)}"


def quantise_static(
    annotated: bytes,
    *_settings: Any,
    input_data_type: Any,
    output_data_type: Any,
    denylisted_nodes: Collection[str] = (),
    **_others: Any,
) -> bytes:
    """Return the file with 4-bit weights and int8 activations; takes the place of TensorFlow's ``mlir_quantize``.

    Args:
        annotated: The float file with its ranges (`RangeMeter.annotated`).
        _settings: Others of TensorFlow's, which mean nothing here.
        input_data_type: int8 or float32, as TensorFlow knows them.
        output_data_type: The same.
        denylisted_nodes: Names of results of operators that stay float.
        _others: Further settings of TensorFlow's.
    """
    import tensorflow as tf
    from litert_quantizer.algorithm_manager import AlgorithmName
    from litert_quantizer.qtyping import TFLOperationName as Name
    from litert_quantizer.recipe_manager import RecipeManager

    manager = RecipeManager()
    manager.add_static_config(".*", Name.ALL_SUPPORTED, _EIGHT, _EIGHT)
    for kind in KINDS:
        manager.add_static_config(".*", Name[kind], _EIGHT, _BITS)
    for end, wanted in ((Name.INPUT, input_data_type), (Name.OUTPUT, output_data_type)):
        if wanted == tf.float32:
            manager.add_quantization_config(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    for name in denylisted_nodes:
        scope = f"^{re.escape(name)};?$"
        manager.add_quantization_config(scope, Name.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)
    # What a repair left behind TensorFlow's quantiser would drop.
    plain, ranges = _ranges(without_orphans(annotated))
    return _quantised(plain, manager, ranges)


def quantise_dynamic(file: bytes) -> bytes:
    """Return a float file with 4-bit weights; activations are float, and quantised by the kernels as they run."""
    from litert_quantizer.qtyping import TFLOperationName as Name
    from litert_quantizer.recipe_manager import RecipeManager

    manager = RecipeManager()
    manager.add_dynamic_config(".*", Name.ALL_SUPPORTED, _EIGHT)
    for kind in KINDS:
        manager.add_dynamic_config(".*", Name[kind], _BITS)
    return _quantised(file, manager, None)


def _quantised(file: bytes, manager: Any, ranges: dict[str, Any] | None) -> bytes:
    from litert_quantizer.quantizer import Quantizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its interpreter calls its own option one for debugging
        quantizer = Quantizer(bytearray(file), manager.get_quantization_recipe())
        made = quantizer.quantize(ranges, enable_progress_report=False).quantized_model
    tree = unpacked(bytes(made))
    mark_versions(tree)
    return packed(tree)


def _ranges(annotated: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return a file without its ranges, and these by tensor, as litert-quantizer's calibration gives them."""
    tree, found = unpacked(annotated), {}
    for tensor in tree.subgraphs[0].tensors:
        given = tensor.quantization
        if given is not None and given.min is not None and len(given.min):
            shape = [1] * (0 if tensor.shape is None else len(tensor.shape))
            found[tensor.name.decode()] = {
                "min": np.reshape(given.min, shape),
                "max": np.reshape(given.max, shape),
            }
            tensor.quantization = None
    return packed(tree), found
