"""Multiply-accumulates (MACs) of each operator, from shapes alone.

Counted are the operators whose work is a sum of products over weights or matrices; additions of biases, activations,
poolings and element-wise operators are not, as in the MLPerf Tiny and torchvision tables. With ``|x|`` the number of
elements of x:

====================================  ==========================================================
CONV_2D (also grouped), CONV_3D       ``|output| * kernel positions * input channels per group``
DEPTHWISE_CONV_2D                     ``|output| * kernel positions``
TRANSPOSE_CONV, CONV_3D_TRANSPOSE     ``|input| * kernel positions * output channels``
FULLY_CONNECTED                       ``|output| * input features``
BATCH_MATMUL                          ``|output| * length of the contracted axis``
LSTM, RNN, SVDF kinds                 ``batch * time steps * sum of |weight matrix|``
====================================  ==========================================================

Source: the definitions of the layers (Goodfellow et al., Deep Learning, 2016, chapters 9 and 10; Dumoulin and Visin, A
guide to convolution arithmetic, 2016); layouts and input positions: the kernels in tensorflow/lite/kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .binary import is_binary, operator_binary_macs
from .calls import called_first, callees
from .model import Model, Operator, Subgraph, Tensor

# Sums end here: subgraphs that call each other twice, hundreds deep, would grow numbers nobody can print.
_MOST = 2**63 - 1


class _Unknown(Exception):
    """The operands do not have the shapes that the operator's definition asks for."""


def _shape(tensor: Tensor, rank: int = 0) -> tuple[int, ...]:
    """Return a shape with dynamic dimensions as 1, after checking its rank."""
    if rank and len(tensor.shape) != rank:
        raise _Unknown
    return tuple(1 if size < 0 else size for size in tensor.shape)


def _input(graph: Subgraph, operator: Operator, position: int) -> Tensor:
    if position >= len(operator.inputs) or operator.inputs[position] < 0:
        raise _Unknown
    return graph.tensors[operator.inputs[position]]


def _output(graph: Subgraph, operator: Operator) -> Tensor:
    if not operator.outputs:
        raise _Unknown
    return graph.tensors[operator.outputs[0]]


def _conv_2d(graph: Subgraph, operator: Operator) -> int:
    _, height, width, channels = _shape(_input(graph, operator, 1), 4)  # [out, height, width, in / groups]
    return _output(graph, operator).elements * height * width * channels


def _conv_3d(graph: Subgraph, operator: Operator) -> int:
    *kernel, channels, _ = _shape(_input(graph, operator, 1), 5)  # [depth, height, width, in / groups, out]
    return _output(graph, operator).elements * math.prod(kernel) * channels


def _depthwise(graph: Subgraph, operator: Operator) -> int:
    _, height, width, _ = _shape(_input(graph, operator, 1), 4)  # [1, height, width, out]
    return _output(graph, operator).elements * height * width


def _transpose_conv(graph: Subgraph, operator: Operator) -> int:
    out, height, width, _ = _shape(_input(graph, operator, 1), 4)  # [out, height, width, in]
    return _input(graph, operator, 2).elements * height * width * out


def _transpose_conv_3d(graph: Subgraph, operator: Operator) -> int:
    *kernel, out, _ = _shape(_input(graph, operator, 1), 5)  # [depth, height, width, out, in]
    return _input(graph, operator, 2).elements * math.prod(kernel) * out


def _fully_connected(graph: Subgraph, operator: Operator) -> int:
    _, features = _shape(_input(graph, operator, 1), 2)  # [out, in]
    return _output(graph, operator).elements * features


def _batch_matmul(graph: Subgraph, operator: Operator) -> int:
    shape = _shape(_input(graph, operator, 0))
    if len(shape) < 2:
        raise _Unknown
    return _output(graph, operator).elements * shape[-2 if operator.options.get("adj_x") else -1]


def _recurrent(time_axes: int, weights: tuple[int, ...]) -> Callable[[Subgraph, Operator], int]:
    """Count every weight once per sample and time step; `time_axes` leading input axes are batch and time."""

    def count(graph: Subgraph, operator: Operator) -> int:
        shape = _shape(_input(graph, operator, 0))
        if len(shape) < time_axes:
            raise _Unknown
        given = [operator.inputs[position] for position in weights if position < len(operator.inputs)]
        return math.prod(shape[:time_axes]) * sum(graph.tensors[index].elements for index in given if index >= 0)

    return count


_LSTM = (*range(1, 9), 16)  # input and recurrent matrices of the four gates, projection


def _lstm(graph: Subgraph, operator: Operator) -> int:
    weights = (2,) if operator.options.get("kernel_type") == "BASIC" else _LSTM
    return _recurrent(1, weights)(graph, operator)


_FORMULAS: dict[str, Callable[[Subgraph, Operator], int]] = {
    "BATCH_MATMUL": _batch_matmul,
    "BIDIRECTIONAL_SEQUENCE_LSTM": _recurrent(2, (*_LSTM, *range(18, 26), 33, *range(40, 48))),
    "BIDIRECTIONAL_SEQUENCE_RNN": _recurrent(2, (1, 2, 5, 6, 10, 11)),
    "CONV_2D": _conv_2d,
    "CONV_3D": _conv_3d,
    "CONV_3D_TRANSPOSE": _transpose_conv_3d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "LSTM": _lstm,
    "RNN": _recurrent(1, (1, 2)),
    "SVDF": _recurrent(1, (1, 2)),
    "TRANSPOSE_CONV": _transpose_conv,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _recurrent(2, _LSTM),
    "UNIDIRECTIONAL_SEQUENCE_RNN": _recurrent(2, (1, 2)),
}


def operator_macs(graph: Subgraph, operator: Operator) -> int | None:
    """Return the MACs of one operator itself, without the subgraphs that it calls.

    Returns:
        None where the file does not tell: custom operators, and operands of an unexpected rank.
    """
    if is_binary(operator):  # counted apart
        return None if operator_binary_macs(graph, operator) is None else 0
    if operator.custom or operator.name.startswith("STABLEHLO_"):
        return None
    formula = _FORMULAS.get(operator.name)
    if formula is None:
        return 0
    try:
        return formula(graph, operator)
    except _Unknown:
        return None


def unknown_macs(model: Model) -> tuple[str, ...]:
    """Return the names of the operators that `macs` counts as 0 because the file does not tell (sorted, each once)."""
    unknown = {
        operator.name
        for graph in called_first(model)
        for operator in graph.operators
        if operator_macs(graph, operator) is None
    }
    return tuple(sorted(unknown))


def macs(model: Model) -> int:
    """Return the MACs of one invocation of the main subgraph.

    A WHILE counts as one round of its condition and body, since the number of rounds is not in the file; an IF counts
    as its dearer branch. Operators of unknown cost count as 0 (see `operator_macs`).
    """
    totals: dict[int, int] = {}
    for graph in called_first(model):
        total = 0
        for operator in graph.operators:
            inner = [totals.get(index, 0) for index in callees(operator)]
            combined = max(inner, default=0) if operator.name in ("IF", "STABLEHLO_CASE") else sum(inner)
            total += (operator_macs(graph, operator) or 0) + combined
        totals[graph.index] = min(total, _MOST)
    return totals[0]
