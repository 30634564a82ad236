"""A model as plain rows of names and numbers: what the JSON of ``inspect`` holds and what its tables show."""

from __future__ import annotations

import math
from typing import Any

from .macs import operator_macs
from .model import Model, Operator, Quantization, Subgraph, Tensor


def operator_rows(model: Model) -> list[dict[str, Any]]:
    """Return one row an operator, subgraph by subgraph in execution order."""
    return [_operator_row(graph, operator) for graph in model.subgraphs for operator in graph.operators]


def tensor_rows(model: Model) -> list[dict[str, Any]]:
    """Return one row a tensor, subgraph by subgraph."""
    return [_tensor_row(graph, tensor) for graph in model.subgraphs for tensor in graph.tensors]


def subgraph_rows(model: Model) -> list[dict[str, Any]]:
    """Return one row a subgraph: name, counts, and the tensors that are its inputs and outputs."""
    return [
        {
            "index": graph.index,
            "name": graph.name,
            "operators": len(graph.operators),
            "tensors": len(graph.tensors),
            "inputs": list(graph.inputs),
            "outputs": list(graph.outputs),
        }
        for graph in model.subgraphs
    ]


def signature_rows(model: Model) -> list[dict[str, Any]]:
    """Return one row a signature; `inputs` and `outputs` map argument names to tensor indices."""
    return [
        {
            "key": found.key,
            "subgraph": found.subgraph_index,
            "inputs": dict(found.inputs),
            "outputs": dict(found.outputs),
        }
        for found in model.signatures
    ]


def metadata_rows(model: Model) -> list[dict[str, Any]]:
    """Return one row a metadata buffer: its size, and its text where it is one."""
    return [{"name": name, "size_bytes": len(raw), "text": _text(raw)} for name, raw in model.metadata.items()]


def weight_bytes(graph: Subgraph, operator: Operator) -> int:
    """Return the stored bytes of the constants that `operator` reads; a buffer it reads twice counts once."""
    constants = {graph.tensors[i].buffer: graph.tensors[i].stored_bytes for i in operator.inputs if i >= 0}
    return sum(constants.values())


def plain(value: object) -> Any:
    """Return `value` as JSON can hold it: tuples as lists, bytes in hex, non-finite numbers as "inf", "-inf", "nan"."""
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _operator_row(graph: Subgraph, operator: Operator) -> dict[str, Any]:
    return {
        "subgraph": graph.index,
        "index": operator.index,
        "op": operator.name,
        "version": operator.version,
        "custom": operator.custom,
        "inputs": [_operand(graph, index) for index in operator.inputs],
        "outputs": [_operand(graph, index) for index in operator.outputs],
        "macs": operator_macs(graph, operator),
        "weight_bytes": weight_bytes(graph, operator),
        "options": {name: plain(value) for name, value in operator.options.items()},
        "custom_options_bytes": len(operator.custom_options),
    }


def _operand(graph: Subgraph, index: int) -> dict[str, Any] | None:
    """Return what an operator table says of a tensor; None for an optional input that is absent."""
    if index < 0:
        return None
    tensor = graph.tensors[index]
    return {
        "tensor": index,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "constant": tensor.is_constant,
    }


def _tensor_row(graph: Subgraph, tensor: Tensor) -> dict[str, Any]:
    return {
        "subgraph": graph.index,
        "index": tensor.index,
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "signature": list(tensor.signature),
        "constant": tensor.is_constant,
        "variable": tensor.is_variable,
        "sparse": tensor.sparse,
        "nbytes": tensor.nbytes,
        "stored_bytes": tensor.stored_bytes,
        "quantization": _quantization_row(tensor.quantization),
    }


def _quantization_row(found: Quantization | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "granularity": "per-channel" if found.per_channel else "per-tensor",
        "axis": found.axis if found.per_channel else None,
        "scales": found.scales.size,
        "scale_min": plain(float(found.scales.min())),
        "scale_max": plain(float(found.scales.max())),
        "zero_point_min": int(found.zero_points.min()),
        "zero_point_max": int(found.zero_points.max()),
    }


def _text(raw: bytes) -> str | None:
    """Return a metadata buffer as text (padding zeros removed), or None when it is binary."""
    try:
        text = raw.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None
