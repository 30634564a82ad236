"""How the values of many tensors are distributed: one pass, bounded memory, no chance.

A bin is as wide as a power of two and begins at a multiple of it. When a tensor's values outgrow its bins, neighbours
are merged into bins twice as wide, exactly; so the counts depend on the values alone, not on their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 4096  # a power of two; at least half of them are in use, so a bin is at most 1/8 of a step of min/max int8
_MANTISSA = 23  # a bin narrower than the last bit of a float32 would tell nothing
_TINIEST = -120  # exponent of the narrowest bin, whose inverse a float32 still holds

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Histogram:
    """Counts of one tensor's values.

    Attributes:
        edges: float64 ``(bins + 1,)``, ascending.
        counts: int64 ``(bins,)``; the first and the last are not zero.
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


class Histograms:
    """Counts values of several tensors, sample by sample."""

    def __init__(self, sizes: Sequence[int], values: int) -> None:
        """Start with nothing counted.

        Args:
            sizes: Elements of each tensor, at least 1.
            values: How many of them are looked at in a sample, about: all of a smaller tensor, of a larger one those at
                equal distances, which begin elsewhere in each sample and meet all channels.
        """
        self._strides = [_stride(size, values) for size in sizes]
        self._takes = np.array([size // stride for size, stride in zip(sizes, self._strides, strict=True)])
        self._values: Floats = np.empty(int(self._takes.sum()), dtype=np.float32)
        self._samples = 0
        self._counts: npt.NDArray[np.int64] = np.zeros((len(sizes), BINS), dtype=np.int64)
        self._exponent: npt.NDArray[np.int64] = np.full(len(sizes), _TINIEST, dtype=np.int64)
        self._low: Floats = np.full(len(sizes), np.inf, dtype=np.float32)
        self._high: Floats = -self._low

    def add(self, tensors: Iterable[Floats], low: Floats, high: Floats) -> None:
        """Count values of one sample.

        Args:
            tensors: The tensors, of any shapes of the sizes given.
            low: The least value of each, ``(tensors,)``.
            high: The greatest.
        """
        place = 0
        for tensor, stride, count in zip(tensors, self._strides, self._takes.tolist(), strict=True):
            start = self._samples % stride
            self._values[place : place + count] = tensor.reshape(-1)[start : start + count * stride : stride]
            place += count
        self._samples += 1
        self._reach(np.minimum(self._low, low), np.maximum(self._high, high))
        inverse = np.ldexp(np.float32(1), -self._exponent).astype(np.float32)
        places = np.floor(self._values * np.repeat(inverse, self._takes)).astype(np.int64) & (BINS - 1)
        places += np.repeat(np.arange(len(self._takes), dtype=np.int64) * BINS, self._takes)
        self._counts += np.bincount(places, minlength=self._counts.size).reshape(self._counts.shape)

    def of(self, tensor: int) -> Histogram:
        """Return the counts of the tensor at this place."""
        first = self._first(tensor)
        counts = np.roll(self._counts[tensor], -first)
        used = np.flatnonzero(counts)
        counts = counts[used[0] : used[-1] + 1]
        start = first + int(used[0])
        edges = np.ldexp(np.arange(start, start + len(counts) + 1, dtype=np.float64), int(self._exponent[tensor]))
        return Histogram(edges, counts)

    def _reach(self, low: Floats, high: Floats) -> None:
        """Merge bins where they would not reach from the least value to the greatest."""
        largest = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
        span = (high.astype(np.float64) - low) / (BINS - 2)
        wanted = np.maximum(_exponent(largest) - _MANTISSA, _exponent(span))
        for tensor in np.flatnonzero(wanted > self._exponent):
            self._merge(int(tensor), int(wanted[tensor]))
        self._low, self._high = low, high

    def _merge(self, tensor: int, exponent: int) -> None:
        slots = np.flatnonzero(self._counts[tensor])
        if slots.size:
            first = self._first(tensor)
            numbers = first + (slots - first) % BINS
            merged = (numbers >> (exponent - int(self._exponent[tensor]))) % BINS
            self._counts[tensor] = np.bincount(merged, self._counts[tensor, slots], BINS)
        self._exponent[tensor] = exponent

    def _first(self, tensor: int) -> int:
        """Return the number of the bin that holds the least value; bin n begins at n widths."""
        return int(np.floor(np.ldexp(float(self._low[tensor]), -int(self._exponent[tensor]))))


def _exponent(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return e where 2**(e - 1) <= value < 2**e; that of the narrowest bin for less."""
    return np.where(values > 0, np.maximum(np.frexp(values)[1], _TINIEST), _TINIEST).astype(np.int64)


def _stride(size: int, values: int) -> int:
    """Return a distance at which about `values` of `size` elements lie, and that shares no factor with the size."""
    stride = max(1, -(-size // values))
    while math.gcd(stride, size) != 1:
        stride += 1
    return stride
