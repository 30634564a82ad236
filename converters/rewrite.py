"""Put the Keras model's names, and its order of inputs and outputs, into a finished .tflite file.

TFLite sorts inputs by name and outputs by chance. Names and the two index lists change: operators, tensors and buffers
keep their order and bytes, and buffers their 16-byte alignment; what the quantiser got wrong is put right on the way
(`requantise`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import numpy as np

from ..errors import ConversionError
from ..models.export.export import input_key, output_key
from .requantise import requantise_copies, text

_FILE_IDENTIFIER = b"TFL3"
_BUFFER_ALIGNMENT = 16


class _AligningBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Aligns byte vectors as the schema's ``force_align: 16`` asks, which the generated Python code leaves out."""

    def CreateNumpyVector(self, x: Any) -> int:
        """Write `x`; bytes are aligned to 16."""
        if x.dtype != np.uint8:
            return int(super().CreateNumpyVector(x))
        self.StartVector(1, x.size, _BUFFER_ALIGNMENT)
        self.head = int(self.Head() - x.size)
        self.Bytes[self.Head() : self.Head() + x.size] = x.tobytes(order="C")
        return int(self.EndVector())


def put_names(model: bytes, input_names: Sequence[str], output_names: Sequence[str]) -> bytes:
    """Return `model` with inputs and outputs in the order of the names, called by them.

    Args:
        model: A .tflite file with one signature whose keys are ``in000``..., ``out000``...
        input_names: In the wanted order.
        output_names: In the wanted order.

    Raises:
        ConversionError: The file's signature does not have those inputs and outputs.
    """
    tree = unpacked(model)
    graph = tree.subgraphs[0]
    signature = tree.signatureDefs[0]
    inputs = {text(entry.name): entry for entry in signature.inputs or []}
    outputs = {text(entry.name): entry for entry in signature.outputs or []}
    # Inputs last: a tensor that is both, because the model passes an input through, keeps the input's name.
    graph.outputs = np.array(_rename(graph, outputs, output_key, output_names), dtype=np.int32)
    graph.inputs = np.array(_rename(graph, inputs, input_key, input_names), dtype=np.int32)
    signature.inputs = [inputs[input_key(i)] for i in range(len(input_names))]
    signature.outputs = [outputs[output_key(i)] for i in range(len(output_names))]
    _empty_orphans(tree)
    requantise_copies(tree)
    return packed(tree)


def named_as(model: bytes, like: bytes) -> bytes:
    """Return a file that was made of `put_names(like, ...)` with the ends of `like`: their names, order and keys."""
    tree, other = unpacked(model), unpacked(like)
    graph, wanted = tree.subgraphs[0], other.subgraphs[0]
    for index in (*wanted.outputs, *wanted.inputs):
        graph.tensors[index].name = wanted.tensors[index].name
    graph.inputs, graph.outputs, tree.signatureDefs = wanted.inputs, wanted.outputs, other.signatureDefs
    return packed(tree)


def marked(model: bytes, name: str) -> bytes:
    """Return a .tflite file with an empty entry of a name in its metadata."""
    from ai_edge_litert import schema_py_generated as schema

    tree = unpacked(model)
    tree.buffers.append(schema.BufferT())
    entry = schema.MetadataT()
    entry.name, entry.buffer = name, len(tree.buffers) - 1
    tree.metadata = [*(tree.metadata or []), entry]
    return packed(tree)


def unpacked(model: bytes) -> Any:
    """Return a file as the schema's ``ModelT``, which can be changed."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(model, 0)


def packed(tree: Any) -> bytes:
    """Return the file of a ``ModelT``; it grows with its buffers."""
    size = sum(len(buffer.data) for buffer in tree.buffers if buffer.data is not None)
    builder = _AligningBuilder(size + 4096)
    builder.Finish(tree.Pack(builder), file_identifier=_FILE_IDENTIFIER)
    return bytes(builder.Output())


def _empty_orphans(tree: Any) -> None:
    """Empty the buffers that nothing refers to: the quantiser leaves chance bytes there for a fused LSTM's state."""
    used = {tensor.buffer for graph in tree.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in tree.metadata or []}
    for index, buffer in enumerate(tree.buffers):
        if index not in used:
            buffer.data = None


def _rename(graph: Any, entries: dict[str, Any], key: Callable[[int], str], names: Sequence[str]) -> list[int]:
    if set(entries) != {key(i) for i in range(len(names))}:
        raise ConversionError(
            f"The converter dropped or merged inputs or outputs: it kept {len(entries)} of {len(names)} "
            f"({', '.join(names)}); remove inputs that the model does not use."
        )
    indices: list[int] = []
    for i, name in enumerate(names):
        entry = entries[key(i)]
        entry.name = name
        if entry.tensorIndex not in indices:  # a tensor that is returned twice keeps its first name
            graph.tensors[entry.tensorIndex].name = name
        indices.append(int(entry.tensorIndex))
    return indices
