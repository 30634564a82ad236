"""Making every intermediate result of a .tflite file an output, to compare two runs operator by operator."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ModelError
from .model import Model
from .reader import read_model
from .schema import schema

# Where the tables' fields stand in the schema, as flatbuffers counts them.
_OUTPUTS = 4 + 2 * 2
_SIGNATURES = 4 + 2 * 7
_MOST_BYTES = 2**31 - 2**24
# What an interpreter can hand out as an array, and two machines can be compared by.
_COMPARABLE = frozenset({"int8", "uint8", "int16", "int32", "int64", "float32", "bool"})


@dataclass(frozen=True)
class Tap:
    """A result in the main graph.

    Attributes:
        operator: Position in the execution order.
        op: Name of the operator.
        tensor: Index of the tensor.
        name: The name of the tensor.
    """

    operator: int
    op: str
    tensor: int
    name: str


def taps(model: Model) -> list[Tap]:
    """Return the comparable results of the main graph, in the order in which they are computed."""
    graph = model.main
    found = []
    for operator in graph.operators:
        for index in operator.outputs:
            tensor = graph.tensors[index] if index >= 0 else None
            if tensor is not None and tensor.dtype in _COMPARABLE and not tensor.is_variable and 0 not in tensor.shape:
                found.append(Tap(operator.index, operator.name, index, tensor.name))
    return found


def with_taps(data: bytes) -> tuple[bytes, list[Tap]]:
    """Return a file whose outputs are all results of the main graph, one for each tap, and the taps.

    A list of outputs is put behind the file, and the graph is pointed to it; all else keeps its place and its bytes, so
    the same kernels run. It has no signatures.

    Raises:
        FileFormatError: `data` is corrupt.
        ModelError: The file cannot be changed so: it is larger than a flatbuffer can be, or states no outputs.
    """
    found = taps(read_model(data))
    return with_outputs(data, [tap.tensor for tap in found]), found


def with_outputs(data: bytes, tensors: Sequence[int]) -> bytes:
    """Return a file whose outputs are these tensors of the main graph, by their indices; see `with_taps`.

    Raises:
        ModelError: The file cannot be changed so.
    """
    root = schema().Model.GetRootAs(data)
    graph = root.Subgraphs(0)._tab
    place, start = graph.Offset(_OUTPUTS), -(-len(data) // 4) * 4
    if start > _MOST_BYTES or not place:
        what = f"has {len(data)} bytes, too many to add to" if place else "states no outputs"
        raise ModelError(f"The file {what}; compare the outputs of a file of which this is not so.")
    changed = bytearray(data.ljust(start, b"\0"))
    changed += struct.pack(f"<{1 + len(tensors)}I", len(tensors), *tensors)
    struct.pack_into("<I", changed, graph.Pos + place, start - (graph.Pos + place))
    if field := root._tab.Offset(_SIGNATURES):
        struct.pack_into("<I", changed, root._tab.Indirect(root._tab.Pos + field), 0)  # how many there are
    return bytes(changed)
