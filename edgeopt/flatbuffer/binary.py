"""The operators of Larq Compute Engine: layers whose inputs and weights are one bit each, 32 of them in an int32.

A binary convolution multiplies by XOR and adds by counting bits: its multiply-accumulates are counted apart from those
of numbers. Options: the FlexBuffer map that larq_compute_engine writes (channels_in, strides, padding, ...).
"""

from __future__ import annotations

import math

from .calls import called_first
from .model import Model, Operator, Subgraph

CONVOLUTION = "LceBconv2d"
OPERATORS = frozenset({CONVOLUTION, "LceBMaxPool2d", "LceDequantize", "LceQuantize"})
_WORD = 32


def is_binary(operator: Operator) -> bool:
    """Say whether an operator is one of Larq Compute Engine's."""
    return operator.custom and operator.name in OPERATORS


def binary_weights(graph: Subgraph, operator: Operator) -> int | None:
    """Return how many weights of one bit an operator has, 0 for one without; None where the file does not tell."""
    if not (operator.custom and operator.name == CONVOLUTION):
        return 0
    index = operator.inputs[1] if len(operator.inputs) > 1 else -1
    shape = graph.tensors[index].shape if index >= 0 else ()
    channels = _channels_in(operator.custom_options)
    if len(shape) != 4 or min(shape) < 1 or channels is None:
        return None
    out, height, width, words = shape
    return out * height * width * min(channels, words * _WORD)


def operator_binary_macs(graph: Subgraph, operator: Operator) -> int | None:
    """Return the binary multiply-accumulates of one operator; None where the file does not tell."""
    weights = binary_weights(graph, operator)
    if not weights:
        return weights
    shape = graph.tensors[operator.outputs[0]].shape if operator.outputs else ()
    if len(shape) != 4:
        return None
    return math.prod(max(1, size) for size in shape[:3]) * weights


def binary_macs(model: Model) -> int:
    """Return the binary multiply-accumulates of one invocation, what the file does not tell left out."""
    return sum(
        operator_binary_macs(graph, operator) or 0 for graph in called_first(model) for operator in graph.operators
    )


def _channels_in(options: bytes) -> int | None:
    from flatbuffers import flexbuffers

    try:
        found = flexbuffers.Loads(options)["channels_in"]
    except Exception:  # whatever a damaged map makes the library raise
        return None
    return found if isinstance(found, int) and found > 0 else None
