"""Branches that a CONCATENATION inside a model leaves few bits, because all its operands share one scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..flatbuffer import read_model
from ..flatbuffer.edges import output_edge
from ..flatbuffer.layer_names import layers_of
from ..flatbuffer.model import Model
from .rewrite import unpacked

_FEW_BITS = 3.0  # eight steps: some 18 dB

Interval = tuple[float, float]


def bits_left(intervals: Sequence[Interval]) -> list[float]:
    """Return how many of eight bits each operand has left where all share one scale, ``log2(1 + steps)``.

    Args:
        intervals: The least and the greatest value of each.
    """
    low, high = min(0.0, *(low for low, _ in intervals)), max(0.0, *(high for _, high in intervals))
    return [float(np.log2(1 + 255 * (end - start) / (high - low))) if high > low else 8.0 for start, end in intervals]


def narrow_branches(annotated: bytes, original: bytes, layers: Sequence[str]) -> list[str]:
    """Warn of each CONCATENATION inside a model of which an operand that moves has fewer than three bits left.

    Args:
        annotated: The float file with the ranges that it is quantised with.
        original: The same before any repair; a CONCATENATION that a repair put in is no branch of the user's.
        layers: Names of the model's layers.
    """
    model, known = read_model(annotated), _ranges(annotated)
    ends = {operator.index for operator in output_edge(model)}
    before = {tensor.name for tensor in read_model(original).main.tensors}
    warnings = []
    for operator in model.main.operators:
        operands = [index for index in operator.inputs if index in known]
        if operator.name != "CONCATENATION" or operator.index in ends or len(operands) < len(operator.inputs):
            continue
        if model.main.tensors[operator.outputs[0]].name not in before:
            continue
        bits = bits_left([known[index] for index in operands])
        branches = zip(bits, operands, strict=True)
        moving = [(left, index) for left, index in branches if _moves(model, index, known[index])]
        least, index = min(moving, default=(8.0, -1))
        if least < _FEW_BITS:
            where, branch = (_name(model.main.tensors[i].name, layers) for i in (operator.outputs[0], index))
            warnings.append(
                f"joined: the concatenation {where} leaves its narrowest input, {branch}, {least:.1f} of 8 bits, "
                "because all its inputs share one scale; normalise each branch first (a BatchNormalization)"
            )
    return warnings


def _moves(model: Model, index: int, interval: Interval) -> bool:
    constant = model.main.tensors[index].data()
    return interval[1] > interval[0] if constant is None else bool(np.ptp(constant) > 0)


def _name(tensor: str, layers: Sequence[str]) -> str:
    known = layers_of(tensor, layers)
    return repr(known[-1] if known else tensor)


def _ranges(annotated: bytes) -> dict[int, Interval]:
    found = {}
    for index, tensor in enumerate(unpacked(annotated).subgraphs[0].tensors):
        ranges = tensor.quantization
        if ranges is not None and ranges.min is not None and len(ranges.min) and len(ranges.max):
            found[index] = float(ranges.min[0]), float(ranges.max[0])
    return found
