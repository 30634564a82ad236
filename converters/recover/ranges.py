"""Range search: each range of a finished int8 file made narrower or wider, step by step, as long as samples gain by it.

What one rule gives all tensors is not the best for each: a range that clips more, or less, is tried by what comes out
of the whole file. The two ends move by one factor, so that zero points, and what is zero, stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from ...flatbuffer import read_model
from ...flatbuffer.model import Model
from ..rewrite import packed, unpacked
from .editing import put_constant, put_scales
from .judging import Judge, compared, improved

_STEP = 2**0.5
_MOST = 4  # steps, either way
_LEAST_DB = 0.02  # a gain that is worth a change
# Operators that compute with a scale for each of their tensors; all others move values, and want one for all.
_FREE = frozenset(
    {
        *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"),
        *("ADD", "SUB", "MUL", "SQUARED_DIFFERENCE", "MEAN", "SUM", "QUANTIZE", "DEQUANTIZE"),
        *("RELU", "RELU6", "LEAKY_RELU", "PRELU", "HARD_SWISH", "GELU", "RSQRT"),
    }
)
# The same, but the scale of what they give is fixed.
_FIXED = frozenset({"SOFTMAX", "LOG_SOFTMAX", "LOGISTIC", "TANH", "L2_NORMALIZATION"})
BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
_LARGEST = 2**31 - 1


def search_ranges(file: bytes, judge: Judge, tell: Callable[[int, int], None]) -> tuple[bytes, int]:
    """Return the file with other ranges, and how many were changed.

    Args:
        file: One subgraph, without variables and control flow.
        judge: By what it is judged; not by the samples that have the last word.
        tell: Told how many of how many ranges were tried.
    """
    found, errors, changed = free_ranges(read_model(file)), judge.errors(file), 0
    for place, tensors in enumerate(found):
        tell(place, len(found))
        for factor in (1 / _STEP, _STEP):
            start = file
            for _ in range(_MOST):
                made = rescaled(file, tensors, factor)
                got = judge.errors(made)
                before, after = compared(errors, got)
                if after.gain_db <= _LEAST_DB or not improved(before, after):
                    break
                file, errors = made, got
            if file is not start:
                changed += 1
                break
    return file, changed


def free_ranges(model: Model) -> list[tuple[int, ...]]:
    """Return the tensors of each range that may change, in the order of the file; those of its ends stay."""
    graph = model.main
    ranges: dict[int, set[int]] = {}
    fixed = {*graph.inputs, *graph.outputs}
    for operator in graph.operators:
        touched = [*operator.inputs, *operator.outputs]
        touched = [index for index in touched if index >= 0 and _moves(model, index)]
        for index in touched:
            ranges.setdefault(index, {index})
        if operator.name in _FIXED:
            fixed.update(operator.outputs)
        elif operator.name not in _FREE:
            joined = set().union(*(ranges[index] for index in touched))
            ranges |= {index: joined for index in joined}
    found = dict.fromkeys(tuple(sorted(joined)) for joined in ranges.values())
    return [tensors for tensors in found if fixed.isdisjoint(tensors)]


def _moves(model: Model, index: int) -> bool:
    tensor = model.main.tensors[index]
    return tensor.dtype == "int8" and not tensor.is_constant and tensor.quantization is not None


def rescaled(file: bytes, tensors: Collection[int], factor: float) -> bytes:
    """Return a file in which tensors have a range that is `factor` times as wide; biases mean what they meant."""
    tree, model = unpacked(file), read_model(file)
    graph = tree.subgraphs[0]
    for index in tensors:
        put_scales(graph.tensors[index], graph.tensors[index].quantization.scale * factor)
    for operator in model.main.operators:
        place = BIAS.get(operator.name, len(operator.inputs))
        if place >= len(operator.inputs) or operator.inputs[place] < 0:
            continue
        whole = factor ** sum(index in tensors for index in operator.inputs[:place])
        stored = model.main.tensors[operator.inputs[place]].data()
        if whole != 1 and stored is not None:
            bias = np.clip(np.rint(stored / whole), -_LARGEST, _LARGEST).astype(np.int32)
            tensor = put_constant(tree, operator.index, place, bias)
            put_scales(tensor, tensor.quantization.scale * whole)
    return packed(tree)
