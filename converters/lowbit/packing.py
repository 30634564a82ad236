"""4-bit weights for an int8 file of a model whose weights were trained on a grid of 15 values.

Training puts the greatest weight of a channel on 7 of its own steps, and TensorFlow's converter puts it on 127 of its:
an integer of the file is a trained one times 127/7, rounded, from which the trained one follows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.dataset import Array
from ...errors import ConversionError
from ...flatbuffer import read_model
from ...flatbuffer.model import Operator, Subgraph
from ..recover.editing import put_constant
from ..rewrite import packed, unpacked
from .weights import BIAS, KINDS, MOST, WEIGHTS, mark_versions, pack

_EIGHT_BITS = 127
_WIDER = _EIGHT_BITS / MOST


def narrowed(file: bytes) -> bytes:
    """Return an int8 file with 4-bit weights wherever they were trained for that.

    Raises:
        ConversionError: No weights were.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph, tree = read_model(file).main, unpacked(file)
    count = 0
    for operator in graph.operators:
        integers = _trained(graph, operator)
        if integers is None:
            continue
        count += 1
        _widen_step(put_constant(tree, operator.index, WEIGHTS, pack(integers)), schema.TensorType.INT4)
        bias = operator.inputs[BIAS] if len(operator.inputs) > BIAS else -1
        if bias >= 0:
            values = np.rint(_data(graph, bias) / _WIDER).astype(np.int32)
            _widen_step(put_constant(tree, operator.index, BIAS, values), schema.TensorType.INT32)
    if not count:
        raise ConversionError(
            "The model was trained with 8-bit weights, and quantize='int8w4' wants 4-bit ones; train it with the qat "
            "pass's weight_bits = 4, or convert with quantize='int8'."
        )
    mark_versions(tree)
    return packed(tree)


def _trained(graph: Subgraph, operator: Operator) -> Array | None:
    """Return an operator's weights as integers of 4 bits; None where they lie on another grid."""
    if operator.name not in KINDS or graph.tensors[operator.inputs[WEIGHTS]].dtype != "int8":
        return None
    stored = graph.tensors[operator.inputs[WEIGHTS]].data()
    if stored is None or stored.ndim < 2:
        return None
    integers = np.rint(stored / _WIDER)
    rounding = np.abs(stored - integers * _WIDER).max(initial=0)
    return integers.astype(np.int8) if rounding <= 1 else None


def _data(graph: Subgraph, index: int) -> Array:
    found = graph.tensors[index].data()
    if found is None:
        raise ConversionError(f"The bias {graph.tensors[index].name!r} is not constant; convert with quantize='int8'.")
    return found


def _widen_step(tensor: Any, kind: int) -> None:
    """Give a tensor of an unpacked file another type, and steps that are as much wider as there are fewer."""
    quantization = type(tensor.quantization)()
    vars(quantization).update(vars(tensor.quantization))
    quantization.scale = np.asarray(np.asarray(quantization.scale, np.float64) * _WIDER, np.float32)
    tensor.type, tensor.quantization = kind, quantization
