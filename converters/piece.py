"""A part of a .tflite file as a file of its own: some operators, with the tensors and weights that they touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .rewrite import packed


def piece(
    tree: Any,
    operators: Sequence[Any],
    given: Sequence[int],
    wanted: Sequence[int],
    names: Mapping[int, str] | None = None,
) -> bytes:
    """Return a file of some operators of an unpacked one.

    Args:
        tree: The whole, as `rewrite.unpacked` returns it; its operators belong to the main graph.
        operators: Some of them, in the order in which they run.
        given: The tensors, by their indices in the whole, that are the part's inputs.
        wanted: Those that are its outputs.
        names: What inputs and outputs are called in the part's signature, by the same indices; None makes no signature.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = tree.subgraphs[0]
    touched = sorted({int(t) for item in operators for t in _touched(item) if t >= 0} | {*given, *wanted})
    place = {tensor: index for index, tensor in enumerate(touched)} | {-1: -1}
    made = schema.ModelT()
    made.version, made.operatorCodes = tree.version, tree.operatorCodes
    made.buffers = [schema.BufferT()]
    inner = schema.SubGraphT()
    inner.tensors = []
    for tensor in touched:
        copied = _copy(graph.tensors[tensor])
        data = tree.buffers[copied.buffer].data
        copied.buffer = 0
        if data is not None and len(data):
            copied.buffer = len(made.buffers)
            made.buffers.append(tree.buffers[graph.tensors[tensor].buffer])
        inner.tensors.append(copied)
    inner.operators = [_moved(operator, place) for operator in operators]
    inner.inputs, inner.outputs = _placed(given, place), _placed(wanted, place)
    made.subgraphs = [inner]
    if names is not None:
        made.signatureDefs = [_signature(schema, *([(names[t], place[t]) for t in side] for side in (given, wanted)))]
    return packed(made)


def _touched(operator: Any) -> list[int]:
    inside = [] if operator.intermediates is None else operator.intermediates
    return [int(tensor) for tensor in (*operator.inputs, *operator.outputs, *inside)]


def _signature(schema: Any, inputs: Sequence[tuple[str, int]], outputs: Sequence[tuple[str, int]]) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    sides = []
    for side in (inputs, outputs):
        entries = []
        for name, index in side:
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            entries.append(entry)
        sides.append(entries)
    signature.inputs, signature.outputs = sides
    return signature


def _moved(operator: Any, place: Mapping[int, int]) -> Any:
    moved = _copy(operator)
    moved.inputs, moved.outputs = _placed(operator.inputs, place), _placed(operator.outputs, place)
    if operator.intermediates is not None:
        moved.intermediates = _placed(operator.intermediates, place)
    return moved


def _placed(tensors: Sequence[int], place: Mapping[int, int]) -> Any:
    return np.array([place[int(tensor)] for tensor in tensors], dtype=np.int32)


def _copy(table: Any) -> Any:
    """Return a shallow copy of an unpacked table."""
    copied = type(table)()
    vars(copied).update(vars(table))
    return copied
