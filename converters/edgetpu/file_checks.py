"""The checks of Edge TPU rules that look at a whole file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...flatbuffer import Model, Operator
from ...flatbuffer.integer import dynamic_dimensions
from .constraints import Found
from .context import EIGHT_BITS, OpContext

FileCheck = Callable[..., Found]
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


def newest_version(model: Model, versions: Mapping[str, int]) -> Found:
    """An operator of a newer version than the compiler reads."""
    for operator in _operators(model):
        ceiling = versions.get(operator.name)
        if ceiling is not None and operator.version > ceiling:
            return {"op": operator.name, "version": operator.version, "ceiling": ceiling}
    return None


def newest_version_of(model: Model, versions: Mapping[str, int], ops: tuple[str, ...]) -> Found:
    """One of these operators in a newer version than the compiler reads."""
    return newest_version(model, {op: ceiling for op, ceiling in versions.items() if op in ops})


def newer_builtin(model: Model, versions: Mapping[str, int], ops: tuple[str, ...]) -> Found:
    """A builtin operator that the compiler has never heard of."""
    for operator in _operators(model):
        if operator.name in ops or operator.name.startswith("STABLEHLO_"):
            return {"op": operator.name}
    return None


def dynamic_shape(model: Model, versions: Mapping[str, int]) -> Found:
    """A tensor whose shape is not fixed; what custom operators write does not count, since they say so at run time."""
    custom = {
        graph.tensors[index].name
        for graph in model.subgraphs
        for operator in graph.operators
        if operator.custom
        for index in operator.outputs
    }
    for tensor in dynamic_dimensions(model):
        if tensor.name in custom:
            continue
        shape = "of unknown rank" if tensor.shape is None else tensor.shape
        return {"tensor": repr(tensor.name), "shape": shape}
    return None


def scale_not_finite(model: Model, versions: Mapping[str, int]) -> Found:
    """A scale that is infinite or not a number."""
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            scales = None if tensor.quantization is None else tensor.quantization.scales
            if scales is not None and not np.isfinite(scales).all():
                return {"tensor": repr(tensor.name), "scale": float(scales[~np.isfinite(scales)][0])}
    return None


def not_quantized(model: Model, versions: Mapping[str, int]) -> Found:
    """No operator that computes on 8-bit integers."""
    for operator in model.main.operators:
        flowing = OpContext(model.main, operator).activations()
        eight_bits = all(tensor.dtype in EIGHT_BITS and tensor.quantization is not None for tensor in flowing)
        if operator.name not in _CONVERSIONS and flowing and eight_bits:
            return None
    return {}


def _operators(model: Model) -> list[Operator]:
    return [operator for graph in model.subgraphs for operator in graph.operators if not operator.custom]


FILE_CHECKS: dict[str, FileCheck] = {
    check.__name__: check
    for check in (newest_version, newest_version_of, newer_builtin, dynamic_shape, scale_not_finite, not_quantized)
}
