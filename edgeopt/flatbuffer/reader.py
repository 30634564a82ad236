"""From the bytes of a .tflite file to a `Model`, trusting none of them."""

from __future__ import annotations

import functools
import math
import os
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FileFormatError, UsageError
from .model import ABSENT, Model, Operator, Quantization, Signature, Subgraph, Tensor
from .schema import dtype_name, operator_name, read_options, schema
from .wire import MAX_ELEMENTS, MAX_RANK, Broken, CheckedBytes, each, integers, text

IDENTIFIER = b"TFL3"
_MAGIC = {
    b"PK\x03\x04": "a zip archive (a .keras file?)",
    b"\x89HDF": "an HDF5 file",
    b"\x7fELF": "a program",
    b"\x93NUM": "a NumPy file",
}
# What `struct`, NumPy and the generated accessors raise on offsets, types and lengths that make no sense.
_FOREIGN = (struct.error, LookupError, TypeError, ValueError, ArithmeticError, MemoryError, AttributeError)

Buffers = list[npt.NDArray[np.uint8] | None]


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read the .tflite file at `path`.

    Raises:
        UsageError: The file cannot be read.
        FileFormatError: It is corrupt, or not a .tflite file.
    """
    return read_model(read_file(path), os.fspath(path))


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of the .tflite file at `path`; a file of another kind is refused before it is read whole.

    Raises:
        UsageError: The file cannot be read.
        FileFormatError: It does not start as a .tflite file does.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(8)
            _check_identifier(head, os.fspath(path))
            return head + stream.read()
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}; give the path of a .tflite file.") from error


def read_model(data: bytes, name: str = "The model") -> Model:
    """Read the bytes of a .tflite file.

    Args:
        data: The whole file.
        name: What to call it in errors.

    Raises:
        FileFormatError: The bytes are corrupt, truncated, or not a .tflite file.
    """
    _check_identifier(data[:8], name)
    try:
        return _read(data)
    except Broken as error:
        raise _corrupt(name, str(error)) from error
    except _FOREIGN as error:
        raise _corrupt(name, "it is cut short, or an offset in it leads nowhere") from error


@functools.lru_cache(maxsize=2)  # a conversion looks at each of its files two to eight times
def _read(data: bytes) -> Model:
    return _Reader(CheckedBytes(data)).model()


def _check_identifier(head: bytes, name: str) -> None:
    if head[4:8] != IDENTIFIER:
        found = _MAGIC.get(bytes(head[:4]), f"a file that starts with {bytes(head)!r}") if head else "empty"
        raise FileFormatError(
            f"{name} is {found}, expected a .tflite file ({IDENTIFIER!r} at byte 4); convert the model first."
        )


def _corrupt(name: str, reason: str) -> FileFormatError:
    return FileFormatError(f"{name} is a corrupt .tflite file ({reason}); convert or download it again.")


def _inside(index: int, count: int, what: str, absent: bool = False) -> int:
    """Return `index` when it is one of `count` things (or -1, where `absent` may stand)."""
    if not (ABSENT if absent else 0) <= index < count:
        raise Broken(f"it refers to {what} {index} of {count}")
    return index


class _Reader:
    """Reads one file; holds the bytes and what other parts of it refer to by number."""

    def __init__(self, data: CheckedBytes) -> None:
        self.data = data
        self.root: Any = schema().Model.GetRootAs(data, 0)

    def model(self) -> Model:
        """Read everything."""
        root = self.root
        buffers = [self._buffer(item) for item in each(self.data, root.BuffersLength(), root.Buffers)]
        codes = [self._code(item) for item in each(self.data, root.OperatorCodesLength(), root.OperatorCodes)]
        graphs = each(self.data, root.SubgraphsLength(), root.Subgraphs)
        subgraphs = tuple(self._subgraph(index, item, buffers, codes) for index, item in enumerate(graphs))
        if not subgraphs:
            raise Broken("it holds no subgraph")
        signatures = each(self.data, root.SignatureDefsLength(), root.SignatureDefs)
        return Model(
            version=root.Version(),
            description=text(root.Description()),
            subgraphs=subgraphs,
            signatures=tuple(self._signature(item, subgraphs) for item in signatures),
            metadata=self._metadata(buffers),
            size_bytes=len(self.data),
        )

    def _buffer(self, item: Any) -> npt.NDArray[np.uint8] | None:
        """Return the bytes of a buffer: inside the flatbuffer, or (files over 2 GiB) at an offset behind it."""
        inline = item.DataAsNumpy()
        if isinstance(inline, np.ndarray):
            return inline if inline.size else None
        offset, size = item.Offset(), item.Size()
        return self.data.view(offset, size) if offset > 1 and size > 0 else None

    def _code(self, item: Any) -> tuple[int, str, bool, int]:
        """Return an operator code as (number, name, custom, version)."""
        # The old one-byte field is authoritative until it runs out at 127; writers fill both.
        code = max(item.DeprecatedBuiltinCode(), item.BuiltinCode())
        custom = operator_name(code) == "CUSTOM"
        name = text(item.CustomCode()) if custom else operator_name(code)
        return code, name or "CUSTOM", custom, item.Version()

    def _subgraph(self, index: int, graph: Any, buffers: Buffers, codes: list[tuple[int, str, bool, int]]) -> Subgraph:
        items = each(self.data, graph.TensorsLength(), graph.Tensors)
        tensors = tuple(self._tensor(position, item, buffers) for position, item in enumerate(items))
        operators = each(self.data, graph.OperatorsLength(), graph.Operators)
        return Subgraph(
            index=index,
            name=text(graph.Name()),
            tensors=tensors,
            operators=tuple(self._operator(i, item, codes, len(tensors)) for i, item in enumerate(operators)),
            inputs=self._indices(graph.InputsAsNumpy(), len(tensors)),
            outputs=self._indices(graph.OutputsAsNumpy(), len(tensors)),
        )

    def _indices(self, array: Any, count: int, absent: bool = False) -> tuple[int, ...]:
        found = integers(self.data, array)
        for index in found:
            _inside(index, count, "tensor", absent)
        return found

    def _tensor(self, index: int, item: Any, buffers: Buffers) -> Tensor:
        shape = integers(self.data, item.ShapeAsNumpy())
        signature = integers(self.data, item.ShapeSignatureAsNumpy())
        if max(len(shape), len(signature)) > MAX_RANK:
            raise Broken(f"tensor {index} has {len(shape)} dimensions")
        if math.prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
            raise Broken(f"tensor {index} has the shape {shape}")
        buffer = _inside(item.Buffer(), len(buffers), "buffer") if buffers else 0
        tensor = Tensor(
            index=index,
            name=text(item.Name()),
            dtype=dtype_name(item.Type()),
            shape=shape,
            shape_signature=signature or None,
            buffer=buffer,
            is_variable=item.IsVariable(),
            quantization=self._quantization(item.Quantization(), shape),
            sparse=item.Sparsity() is not None,
            has_rank=item.HasRank(),
            raw=buffers[buffer] if buffers else None,
        )
        if tensor.raw is not None and not tensor.sparse and tensor.raw.size < tensor.nbytes:
            raise Broken(f"constant {index} has {tensor.raw.size} bytes for {tensor.nbytes}")
        return tensor

    def _quantization(self, item: Any, shape: tuple[int, ...]) -> Quantization | None:
        scales = None if item is None else item.ScaleAsNumpy()
        if not isinstance(scales, np.ndarray) or not scales.size:
            return None
        # Views, yet counted: a vector that a hundred thousand tensors share is walked for each of them later.
        self.data.count_copied(scales.nbytes)
        points = item.ZeroPointAsNumpy()
        if not isinstance(points, np.ndarray) or not points.size:
            points = np.zeros(1, np.int64)
        if points.size not in (1, scales.size):
            raise Broken(f"a tensor has {scales.size} scales and {points.size} zero points")
        axis = item.QuantizedDimension()
        if scales.size > 1 and (not 0 <= axis < len(shape) or shape[axis] != scales.size):
            raise Broken(f"a tensor of shape {shape} has {scales.size} scales along dimension {axis}")
        return Quantization(scales, np.broadcast_to(points, scales.shape), axis)

    def _operator(self, index: int, item: Any, codes: list[tuple[int, str, bool, int]], tensors: int) -> Operator:
        code, name, custom, version = codes[_inside(item.OpcodeIndex(), len(codes), "operator code")]
        options = read_options("BuiltinOptions", item.BuiltinOptionsType(), item.BuiltinOptions())
        options |= read_options("BuiltinOptions2", item.BuiltinOptions2Type(), item.BuiltinOptions2())
        return Operator(
            index=index,
            name=name,
            builtin_code=code,
            custom=custom,
            version=version,
            inputs=self._indices(item.InputsAsNumpy(), tensors, absent=True),
            outputs=self._indices(item.OutputsAsNumpy(), tensors),
            intermediates=self._indices(item.IntermediatesAsNumpy(), tensors, absent=True),
            options=options,
            custom_options=self._custom_options(item),
        )

    def _custom_options(self, item: Any) -> bytes:
        """Return the options of a custom operator, inside the flatbuffer or at an offset behind it."""
        found = item.CustomOptionsAsNumpy()
        if not isinstance(found, np.ndarray):
            offset, size = item.LargeCustomOptionsOffset(), item.LargeCustomOptionsSize()
            if offset <= 1 or size <= 0:
                return b""
            found = self.data.view(offset, size)
        self.data.count_copied(found.size)
        return bytes(found)

    def _signature(self, item: Any, subgraphs: tuple[Subgraph, ...]) -> Signature:
        index = _inside(item.SubgraphIndex(), len(subgraphs), "subgraph")
        count = len(subgraphs[index].tensors)
        inputs = each(self.data, item.InputsLength(), item.Inputs)
        outputs = each(self.data, item.OutputsLength(), item.Outputs)
        return Signature(
            key=text(item.SignatureKey()),
            inputs={text(pair.Name()): _inside(pair.TensorIndex(), count, "tensor") for pair in inputs},
            outputs={text(pair.Name()): _inside(pair.TensorIndex(), count, "tensor") for pair in outputs},
            subgraph_index=index,
        )

    def _metadata(self, buffers: Buffers) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for item in each(self.data, self.root.MetadataLength(), self.root.Metadata):
            raw = buffers[_inside(item.Buffer(), len(buffers), "buffer")]
            self.data.count_copied(0 if raw is None else raw.size)
            found[text(item.Name())] = b"" if raw is None else raw.tobytes()
        return found
