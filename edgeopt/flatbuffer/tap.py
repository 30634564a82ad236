"""Making every intermediate result of a .tflite file an output, to compare two runs operator by operator."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ModelError
from .model import Model
from .reader import read_model
from .schema import schema

_IDENTIFIER = b"TFL3"
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

    The operators and weights stay as they are, so the same kernels run. It has no signatures.

    Raises:
        FileFormatError: `data` is corrupt.
        ModelError: The file cannot be rewritten (larger than a flatbuffer can be).
    """
    import flatbuffers

    found = taps(read_model(data))
    generated = schema()
    root = generated.ModelT.InitFromObj(generated.Model.GetRootAs(data))
    root.subgraphs[0].outputs = [tap.tensor for tap in found]
    root.signatureDefs = None
    builder = flatbuffers.Builder(len(data) + 1024)
    try:
        builder.Finish(root.Pack(builder), file_identifier=_IDENTIFIER)
    except flatbuffers.builder.BuilderSizeError as error:
        raise ModelError(f"The file has {len(data)} bytes, too many to rewrite; compare its outputs alone.") from error
    return bytes(builder.Output()), found
