"""Sums over a whole file: operator histogram, parameters, compressed size."""

from __future__ import annotations

import gzip

from .binary import binary_weights
from .model import Model, Subgraph, Tensor


def op_histogram(model: Model) -> dict[str, int]:
    """Return how often each operator occurs, over all subgraphs, most frequent first."""
    counts: dict[str, int] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            counts[operator.name] = counts.get(operator.name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def parameters(model: Model) -> int:
    """Return the number of weights: elements of the constants that operators compute with.

    Counted are constants of float or quantised type that some operator reads (weights, biases, embedded factors), at
    their dense size even when stored sparse, and once where several tensors share a buffer. Not counted are plain
    integers (shapes, axes, paddings, indices), booleans and strings, the values that variables start from, and what a
    custom operator holds inside, but for the weights of Larq's binary convolutions.
    """
    seen: dict[int, int] = {}
    for graph in model.subgraphs:
        for tensor in _computed_with(graph):
            if tensor.is_float or tensor.quantization is not None:
                seen[tensor.buffer] = max(seen.get(tensor.buffer, 0), tensor.elements)
    binary = sum(binary_weights(graph, operator) or 0 for graph in model.subgraphs for operator in graph.operators)
    return sum(seen.values()) + binary


def _computed_with(graph: Subgraph) -> list[Tensor]:
    """Return the constants that the operators of `graph` compute with, each once."""
    computing = [operator for operator in graph.operators if operator.name != "ASSIGN_VARIABLE"]
    indices = {index for operator in computing for index in operator.inputs if index >= 0}
    return [graph.tensors[index] for index in sorted(indices) if graph.tensors[index].is_constant]


def expanded_constants(graph: Subgraph) -> set[int]:
    """Return the tensors that DEQUANTIZE or DENSIFY make from constants alone (float16, packed or sparse weights).

    The kernels compute these once and keep them, so they are weights in memory rather than activations.
    """
    expanded: set[int] = set()
    for operator in graph.operators:
        if operator.name not in ("DENSIFY", "DEQUANTIZE") or not operator.inputs:
            continue
        source = operator.inputs[0]
        if source >= 0 and (graph.tensors[source].is_constant or source in expanded):
            expanded.update(operator.outputs)
    return expanded


def gzip_bytes(data: bytes) -> int:
    """Return the size of `data` compressed by gzip at level 9, without a time stamp: the same on every run."""
    return len(gzip.compress(data, compresslevel=9, mtime=0))
