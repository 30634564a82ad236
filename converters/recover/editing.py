"""Write constants into an unpacked file, for one operator alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ...data.dataset import Array
from ..lowbit.weights import BIAS, WEIGHTS, pack
from .layers import Integers, Layer, Reals


def put_weights(tree: Any, layer: Layer, integers: Integers) -> Any:
    """Give a layer other stored weights, (K, channels); return their tensor."""
    stored = layer.as_stored(integers).astype(np.int8)
    return put_constant(tree, layer.operator.index, WEIGHTS, pack(stored) if layer.weights.dtype == "int4" else stored)


def put_bias(tree: Any, layer: Layer, bias: Reals) -> None:
    """Give a layer another bias, in real values on its grid: (channels,)."""
    put_constant(tree, layer.operator.index, BIAS, np.rint(bias / layer.bias_step).astype(np.int32))


def put_constant(tree: Any, operator_index: int, position: int, values: Array) -> Any:
    """Write values into the tensor at a position of an operator's inputs; into one of its own where others read it.

    Returns:
        That tensor.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = tree.subgraphs[0]
    operator = graph.operators[operator_index]
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
    return tensor


def put_scales(tensor: Any, scales: Array) -> None:
    """Give a tensor other scales, as many as it has; what shared its quantisation keeps its own."""
    tensor.quantization = copy.copy(tensor.quantization)
    tensor.quantization.scale = np.asarray(scales, np.float32)
