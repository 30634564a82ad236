"""Put a QUANTIZE before operators that copy integers into a tensor of another scale.

Operators that only move values (REVERSE_V2, TILE, ...) copy integers, so their output must have their input's scale
and zero point. TensorFlow's quantiser knows that of most of them, but not of all (TensorFlow 2.19 and 2.21: REVERSE_V2,
which ends a Bidirectional layer that returns sequences): it gives the output a scale of its own, and the values come
out wrong. Requantising first makes them right.
"""

from __future__ import annotations

from typing import Any

import numpy as np

COPYING = (
    "BROADCAST_TO",
    "DEPTH_TO_SPACE",
    "EXPAND_DIMS",
    "GATHER",
    "GATHER_ND",
    "RESHAPE",
    "REVERSE_SEQUENCE",
    "REVERSE_V2",
    "SLICE",
    "SPACE_TO_DEPTH",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TILE",
    "TRANSPOSE",
)
_VERSION = 2  # of QUANTIZE from integers to integers


def requantise_copies(tree: Any) -> int:
    """Insert the missing QUANTIZE operators into an unpacked model; return how many.

    Args:
        tree: A ``ModelT`` of the TFLite schema; changed in place.
    """
    from ai_edge_litert import schema_py_generated as schema

    copying = {getattr(schema.BuiltinOperator, name) for name in COPYING}
    count = 0
    for graph in tree.subgraphs:
        operators = []
        for operator in graph.operators:
            code = tree.operatorCodes[operator.opcodeIndex].builtinCode
            if code in copying and _scales_differ(
                graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
            ):
                operators.append(_quantize_before(tree, graph, operator))
                count += 1
            operators.append(operator)
        graph.operators = operators
    return count


def _scales_differ(source: Any, target: Any) -> bool:
    if any(_unquantised(tensor) for tensor in (source, target)) or source.type != target.type:
        return False
    ours, theirs = source.quantization, target.quantization
    return not (np.array_equal(ours.scale, theirs.scale) and np.array_equal(ours.zeroPoint, theirs.zeroPoint))


def _unquantised(tensor: Any) -> bool:
    return tensor.quantization is None or tensor.quantization.scale is None or not len(tensor.quantization.scale)


def _quantize_before(tree: Any, graph: Any, operator: Any) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    source, target = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    fresh = schema.TensorT()
    fresh.name = text(source.name) + "/requantised"
    fresh.shape, fresh.shapeSignature, fresh.type = source.shape, source.shapeSignature, source.type
    fresh.hasRank, fresh.quantization = source.hasRank, target.quantization
    graph.tensors.append(fresh)
    made = schema.OperatorT()
    made.opcodeIndex = _quantize_code(tree)
    made.inputs = np.array([operator.inputs[0]], dtype=np.int32)
    made.outputs = np.array([len(graph.tensors) - 1], dtype=np.int32)
    made.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    made.builtinOptions = schema.QuantizeOptionsT()
    operator.inputs = np.array([len(graph.tensors) - 1, *operator.inputs[1:]], dtype=np.int32)
    return made


def _quantize_code(tree: Any) -> int:
    """Return the place of QUANTIZE among the operator codes, adding it if it is not there."""
    from ai_edge_litert import schema_py_generated as schema

    wanted = schema.BuiltinOperator.QUANTIZE
    for place, code in enumerate(tree.operatorCodes):
        if code.builtinCode == wanted:
            code.version = max(code.version, _VERSION)
            return place
    added = schema.OperatorCodeT()
    added.builtinCode = added.deprecatedBuiltinCode = wanted
    added.version = _VERSION
    tree.operatorCodes.append(added)
    return len(tree.operatorCodes) - 1


def text(value: bytes | str) -> str:
    """Return a name of an unpacked model, which is bytes when it was read from a file."""
    return value.decode() if isinstance(value, bytes) else value
