"""Work around a fault of tf2onnx 1.17: a FULLY_CONNECTED that reads more than two dimensions loses its bias.

Where TFLite flattens on the way (`keep_num_dims` is false), a RESHAPE is put in front, and tf2onnx keeps the bias.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from ..rewrite import packed, unpacked


def flattened(content: bytes) -> bytes:
    """Return a .tflite file whose FULLY_CONNECTED operators read two dimensions, where TFLite itself flattens."""
    from ai_edge_litert import schema_py_generated as schema

    tree = unpacked(content)
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in tree.operatorCodes]
    operators: list[Any] = []
    graph = tree.subgraphs[0]
    for operator in graph.operators:
        if kinds[operator.opcodeIndex] == schema.BuiltinOperator.FULLY_CONNECTED:
            source, weights = (graph.tensors[index] for index in operator.inputs[:2])
            if not operator.builtinOptions.keepNumDims and len(source.shape) != 2:
                operators.append(_reshape(tree, int(operator.inputs[0]), [-1, int(weights.shape[1])]))
                operator.inputs = np.array([operators[-1].outputs[0], *operator.inputs[1:]], np.int32)
        operators.append(operator)
    if len(operators) == len(graph.operators):
        return content
    graph.operators = operators
    return packed(tree)


def _reshape(tree: Any, index: int, shape: list[int]) -> Any:
    """Return a RESHAPE of tensor `index`, with a new tensor for what it gives."""
    from ai_edge_litert import schema_py_generated as schema

    graph = tree.subgraphs[0]
    source = graph.tensors[index]
    flat, size = copy(source), schema.TensorT()
    flat.shape = np.array([int(np.prod(source.shape)) // shape[1], shape[1]], np.int32)
    flat.shapeSignature, flat.buffer = None, 0
    flat.name = source.name + b"/flat" if isinstance(source.name, bytes) else f"{source.name}/flat"
    tree.buffers.append(schema.BufferT())
    tree.buffers[-1].data = np.frombuffer(np.array(shape, np.int32).tobytes(), np.uint8)
    size.shape, size.type, size.buffer = np.array([2], np.int32), schema.TensorType.INT32, len(tree.buffers) - 1
    size.name = "flat_shape"
    graph.tensors += [size, flat]
    made, code = schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    code.version = 1
    tree.operatorCodes.append(code)
    made.opcodeIndex = len(tree.operatorCodes) - 1
    made.inputs = np.array([index, len(graph.tensors) - 2], np.int32)
    made.outputs = np.array([len(graph.tensors) - 1], np.int32)
    made.builtinOptionsType, made.builtinOptions = schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT()
    made.builtinOptions.newShape = np.array(shape, np.int32)
    return made
