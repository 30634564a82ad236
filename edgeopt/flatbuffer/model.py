"""What a .tflite file holds, as frozen dataclasses: `Model` > `Subgraph` > `Tensor` and `Operator`.

They describe the file and judge nothing; the sums and checks are in the modules beside this one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .storage import BITS, decode

ABSENT = -1


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantisation, ``real = scale * (stored - zero_point)``.

    Attributes:
        scales: float32 ``(n,)``, n >= 1; one value means per-tensor, more mean per-channel.
        zero_points: int64 ``(n,)``.
        axis: The dimension that the n values run along; 0 and without meaning for per-tensor.
    """

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int

    @property
    def per_channel(self) -> bool:
        """Whether there is more than one scale."""
        return self.scales.size > 1


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a subgraph.

    Attributes:
        index: Its position in the subgraph's `tensors`, which is what operators refer to.
        dtype: "float32", "int8", "string", "int4", ...; "unknown(N)" for a type newer than the schema at hand.
        shape: As stored; dynamic dimensions usually stand here as 1.
        shape_signature: The shape with -1 for dynamic dimensions, where the file states one.
        buffer: Index of its buffer in the file; tensors that share constant data share this number.
        is_variable: Keeps its value between invocations (the state of a streaming model).
        quantization: None where the file has no scales.
        sparse: Stored as the non-zero values only.
        has_rank: The file says that the shape's length is meant; older files never do.
        raw: The stored bytes, uint8 ``(n,)``, a view into the file; None for tensors computed at run time.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...] | None
    buffer: int
    is_variable: bool
    quantization: Quantization | None
    sparse: bool
    has_rank: bool = True
    raw: npt.NDArray[np.uint8] | None = field(default=None, repr=False)

    @property
    def signature(self) -> tuple[int, ...]:
        """The shape with -1 for dynamic dimensions."""
        return self.shape if self.shape_signature is None else self.shape_signature

    @property
    def elements(self) -> int:
        """Number of elements; a dynamic dimension (negative) counts as 1, as the interpreter starts with."""
        return math.prod(1 if size < 0 else size for size in self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes it takes in memory when dense; 0 for strings and resources, whose size the file does not state."""
        return (self.elements * BITS.get(self.dtype, 0) + 7) // 8

    @property
    def stored_bytes(self) -> int:
        """Bytes of its constant data in the file: less than `nbytes` when sparse, 0 when not constant."""
        return 0 if self.raw is None else self.raw.size

    @property
    def is_constant(self) -> bool:
        """Whether the file holds its value."""
        return self.raw is not None

    @property
    def is_float(self) -> bool:
        """Whether it holds floating-point numbers (of any width)."""
        return self.dtype.startswith(("float", "bfloat", "complex"))

    @property
    def is_handle(self) -> bool:
        """Whether it refers to something that lives elsewhere (a variable, a table) and has no shape of its own."""
        return self.dtype in ("resource", "variant")

    def data(self) -> npt.NDArray[Any] | None:
        """Return the constant value as a read-only array of `shape`.

        Types of 2 and 4 bits are unpacked to int8 or uint8, bfloat16 is widened to float32, strings become `bytes`
        objects; all others are views into the file.

        Returns:
            None for a tensor that is not constant, is sparse (the file lacks its dense value) or of a type NumPy lacks.
        """
        if self.raw is None or self.sparse:
            return None
        return decode(self.raw, self.dtype, self.shape)


@dataclass(frozen=True)
class Operator:
    """One operator of a subgraph.

    Attributes:
        index: Its position in the execution order.
        name: The builtin name ("CONV_2D"), or the custom code ("edgetpu-custom-op").
        builtin_code: The schema's number; that of CUSTOM for custom operators.
        version: The operator version the file asks for.
        inputs: Tensor indices; -1 stands for an optional input that is absent.
        outputs: Tensor indices.
        intermediates: Tensors that only the kernel uses (LSTM).
        options: The builtin options by their schema names; enum values as names.
        custom_options: The raw options of a custom operator.
    """

    index: int
    name: str
    builtin_code: int
    custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...] = ()
    options: dict[str, object] = field(default_factory=dict)
    custom_options: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Subgraph:
    """One graph of a model; number 0 is the main one, the others are called by control flow or signatures."""

    index: int
    name: str
    tensors: tuple[Tensor, ...] = field(repr=False)
    operators: tuple[Operator, ...] = field(repr=False)
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """A named entry point: argument names to tensor indices of subgraph `subgraph_index`."""

    key: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    subgraph_index: int


@dataclass(frozen=True)
class Model:
    """A whole .tflite file.

    Attributes:
        version: The schema version (3).
        metadata: Name to the raw bytes of the metadata buffer.
        size_bytes: Size of the file.
    """

    version: int
    description: str
    subgraphs: tuple[Subgraph, ...] = field(repr=False)
    signatures: tuple[Signature, ...]
    metadata: dict[str, bytes] = field(repr=False)
    size_bytes: int

    @property
    def main(self) -> Subgraph:
        """Subgraph 0, the one that a plain ``invoke()`` runs."""
        return self.subgraphs[0]
