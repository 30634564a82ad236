"""Write constants into an unpacked file, for one operator alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.dataset import Array
from .layers import Integers, Layer, Reals

_WEIGHTS, _BIAS = 1, 2


def put_weights(tree: Any, layer: Layer, integers: Integers) -> None:
    """Give a layer other stored weights, (K, channels)."""
    _put(tree, layer, _WEIGHTS, layer.as_stored(integers).astype(np.int8))


def put_bias(tree: Any, layer: Layer, bias: Reals) -> None:
    """Give a layer another bias, in real values on its grid: (channels,)."""
    _put(tree, layer, _BIAS, np.rint(bias / layer.bias_step).astype(np.int32))


def _put(tree: Any, layer: Layer, position: int, values: Array) -> None:
    """Write values into the tensor at a position of the operator's inputs; into one of its own where others read it."""
    from ai_edge_litert import schema_py_generated as schema

    graph = tree.subgraphs[0]
    operator = graph.operators[layer.operator.index]
    index = int(operator.inputs[position])
    if sum(int(index in item.inputs) for item in graph.operators) > 1:
        fresh = schema.TensorT()
        vars(fresh).update(vars(graph.tensors[index]))
        graph.tensors.append(fresh)
        index = len(graph.tensors) - 1
        operator.inputs = np.array([*operator.inputs[:position], index, *operator.inputs[position + 1 :]], np.int32)
    tensor = graph.tensors[index]
    if sum(item.buffer == tensor.buffer for item in graph.tensors) > 1:
        tree.buffers.append(schema.BufferT())
        tensor.buffer = len(tree.buffers) - 1
    tree.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
