"""Weights of fewer than 8 bits: how many, in how many bytes, and for which operators there are fast kernels."""

from __future__ import annotations

from dataclasses import dataclass

from .model import Model, Tensor
from .storage import BITS

# What LiteRT's XNNPACK (2.3) computes with 4-bit weights; TFLite's own kernels unpack those of all others, each time.
_FAST = frozenset({"FULLY_CONNECTED"})


@dataclass(frozen=True)
class LowBits:
    """The weights of one type of fewer than 8 bits.

    Attributes:
        dtype: ``int4`` or ``int2``.
        tensors: How many constants.
        weights: How many numbers in them.
        stored_bytes: What they take in the file.
        operators: Operator -> how many of its kind read such weights.
    """

    dtype: str
    tensors: int
    weights: int
    stored_bytes: int
    operators: dict[str, int]

    @property
    def slow(self) -> dict[str, int]:
        """Those operators that have no fast kernel for them."""
        return {name: count for name, count in self.operators.items() if name not in _FAST}

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return {**vars(self), "operators": dict(self.operators), "slow": self.slow}

    def __str__(self) -> str:
        """Return e.g. ``10 int4 constants, 77,000 weights in 38,500 B``."""
        return f"{self.tensors} {self.dtype} constants, {self.weights:,} weights in {self.stored_bytes:,} B"


def low_bits(model: Model) -> list[LowBits]:
    """Return what the file has of weights of fewer than 8 bits, by type; empty for most files."""
    constants: dict[str, dict[int, Tensor]] = {}
    readers: dict[str, dict[str, int]] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            for index in operator.inputs:
                tensor = graph.tensors[index] if index >= 0 else None
                if tensor is None or not tensor.is_constant or BITS.get(tensor.dtype, 8) >= 8:
                    continue
                constants.setdefault(tensor.dtype, {})[tensor.buffer] = tensor
                counts = readers.setdefault(tensor.dtype, {})
                counts[operator.name] = counts.get(operator.name, 0) + 1
    return [
        LowBits(
            dtype,
            len(found),
            sum(tensor.elements for tensor in found.values()),
            sum(tensor.stored_bytes for tensor in found.values()),
            readers[dtype],
        )
        for dtype, found in sorted(constants.items())
    ]
