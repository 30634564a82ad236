"""The schema's generated classes (ai-edge-litert), loaded on first use, and the names of its enums and options."""

from __future__ import annotations

import functools
import importlib
import re
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import RuntimeMissingError
from .wire import CheckedBytes, integers

# Option fields that are enums, by schema name, and those that are tensor types.
_ENUMS = {
    "fused_activation_function": "ActivationFunctionType",
    "padding": "Padding",
    "weights_format": "FullyConnectedOptionsWeightsFormat",
    "kernel_type": "LSTMKernelType",
    "combiner": "CombinerType",
    "mode": "MirrorPadMode",
    "reduce_function": "ReduceWindowFunction",
    "algorithm": "RngAlgorithm",
    "comparison_direction": "StablehloComparisonDirection",
    "compare_type": "StablehloComparisonType",
    "composite_attributes_format": "CustomOptionsFormat",
    "type": "LSHProjectionType",
}
_TYPES = {
    *("in_data_type", "out_data_type", "output_type", "out_type", "idx_out_type"),
    *("key_dtype", "value_dtype", "quantized_bias_type"),
}


@functools.cache
def schema() -> ModuleType:
    """Return the module of generated classes.

    Raises:
        RuntimeMissingError: ai-edge-litert is not installed.
    """
    try:
        return importlib.import_module("ai_edge_litert.schema_py_generated")
    except ImportError as error:
        raise RuntimeMissingError(
            f"The .tflite schema could not be loaded ({error}); install it with: pip install ai-edge-litert."
        ) from error


@functools.cache
def _enum(name: str) -> dict[int, str]:
    members = vars(getattr(schema(), name, object))
    return {value: key for key, value in members.items() if isinstance(value, int) and not key.startswith("_")}


def enum_name(enum: str, value: int) -> str:
    """Return the schema's name of an enum value, "unknown(N)" where the schema at hand has none."""
    return _enum(enum).get(value, f"unknown({value})")


def dtype_name(value: int) -> str:
    """Return a tensor type as NumPy spells it: 9 is "int8"."""
    return enum_name("TensorType", value).lower()


def operator_name(code: int) -> str:
    """Return a builtin operator's name: 3 is "CONV_2D"."""
    return enum_name("BuiltinOperator", code)


def read_options(union: str, kind: int, table: Any) -> dict[str, object]:
    """Return the fields of a builtin options table by schema name; {} for a kind that the schema at hand lacks.

    Args:
        union: "BuiltinOptions" or "BuiltinOptions2".
        kind: The union's type number.
        table: The flatbuffers table that the operator's accessor returned; its bytes are `CheckedBytes`.
    """
    name = _enum(union).get(kind, "NONE")
    if name == "NONE" or table is None:
        return {}
    accessor = getattr(schema(), name)()
    accessor.Init(table.Bytes, table.Pos)
    fields = vars(getattr(schema(), f"{name}T").InitFromObj(accessor))
    return {_snake(key): _plain(_snake(key), value, table.Bytes) for key, value in fields.items()}


@functools.cache
def _snake(name: str) -> str:
    """Return "dilation_w_factor" for "dilationWFactor"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _plain(field: str, value: Any, data: CheckedBytes) -> object:
    """Turn one field's value to a name, a number, a string, bytes or a tuple."""
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        data.count_copied(value.size)
        return value.tobytes()
    if isinstance(value, np.ndarray):
        return integers(data, value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if field in _TYPES:
            return dtype_name(value)
        if field in _ENUMS:
            return enum_name(_ENUMS[field], value)
    return value if isinstance(value, bool | int | float) else None if value is None else str(value)
