"""How two sets of outputs of one file differ, in steps of the outputs' own quantisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .measurement import Output

Array = npt.NDArray[Any]

# Float outputs have no step of their own; this many steps over their range are what int8 would resolve.
FLOAT_STEPS = 255
# Differences above this are counted together.
LONGEST_HISTOGRAM = 64


@dataclass(frozen=True)
class Difference:
    """How far two arrays of stored values lie apart.

    Attributes:
        equal: Whether they are the same, bit for bit.
        max_lsb: The largest difference, in steps of the output's scale (LSB), at least 0.
        histogram: The number of elements by their difference in steps; the last key, `LONGEST_HISTOGRAM`, counts all
            above, too.
        first_sample: The number of the first sample that differs, from 0 on; None if none does.
    """

    equal: bool
    max_lsb: int
    histogram: dict[int, int]
    first_sample: int | None

    @property
    def share(self) -> float:
        """Share of the elements that differ by a step or more."""
        count = sum(self.histogram.values())
        return 1 - self.histogram.get(0, 0) / count if count else 0.0

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as JSON holds them."""
        histogram = {str(step): count for step, count in sorted(self.histogram.items())}
        return {"equal": self.equal, "max_lsb": self.max_lsb, "share": self.share, "lsb_histogram": histogram}


def difference(first: Array, second: Array) -> Difference:
    """Compare two arrays of the same shape ``(n, ...)`` and type, of stored values.

    Integers are compared as they are: one step is one LSB. Floats are compared in steps of 1/255 of the first array's
    range; they are equal only when their bits are.
    """
    if first.dtype.kind in "iu" or first.dtype.kind == "b":
        steps = np.abs(first.astype(np.int64) - second.astype(np.int64))
    else:
        steps = _float_steps(first, second)
    unequal = _bits_differ(first, second)
    rows = unequal.reshape(len(unequal), -1).any(axis=1)
    values, counts = np.unique(np.minimum(steps, LONGEST_HISTOGRAM), return_counts=True)
    return Difference(
        equal=not rows.any(),
        max_lsb=int(steps.max(initial=0)),
        histogram={int(value): int(count) for value, count in zip(values, counts, strict=True)},
        first_sample=int(np.argmax(rows)) if rows.any() else None,
    )


def merged(parts: Sequence[Difference]) -> Difference:
    """Return the difference over several outputs together."""
    histogram: dict[int, int] = {}
    for part in parts:
        for step, count in part.histogram.items():
            histogram[step] = histogram.get(step, 0) + count
    samples = [part.first_sample for part in parts if part.first_sample is not None]
    return Difference(
        equal=all(part.equal for part in parts),
        max_lsb=max((part.max_lsb for part in parts), default=0),
        histogram=histogram,
        first_sample=min(samples) if samples else None,
    )


def agreement(first: Output, second: Output) -> float | None:
    """Return the share of samples in which both name the same class; None for an output that holds no scores.

    An output of shape ``(n, classes)`` with two classes or more holds scores.
    """
    if first.stored.ndim != 2 or first.stored.shape[1] < 2:
        return None
    return float(np.mean(np.argmax(first.stored, axis=1) == np.argmax(second.stored, axis=1)))


def _float_steps(first: Array, second: Array) -> Array:
    finite = np.isfinite(first) & np.isfinite(second)
    known = first[finite].astype(np.float64)
    span = float(np.ptp(known)) if known.size else 0.0
    step = span / FLOAT_STEPS or 1.0
    apart = np.zeros(first.shape, np.float64)
    apart[finite] = np.abs(known - second[finite].astype(np.float64)) / step
    # NaN or infinity on one side alone is as far apart as can be told.
    apart[~finite & ~((first == second) | (np.isnan(first) & np.isnan(second)))] = LONGEST_HISTOGRAM
    steps: Array = np.rint(np.minimum(apart, 2.0**31)).astype(np.int64)
    return steps


def _bits_differ(first: Array, second: Array) -> Array:
    if first.dtype.kind != "f":
        return np.asarray(first != second)
    width = np.dtype(f"u{first.dtype.itemsize}")
    return np.asarray(np.ascontiguousarray(first).view(width) != np.ascontiguousarray(second).view(width))
