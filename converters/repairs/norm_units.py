"""Norms by the unit vectors of L2_NORMALIZATION, with the mean taken off before, behind, or between two of them.

It sums squares in 32 bits, and ``x / sqrt(mean(x^2)) = sqrt(n) * x / |x|`` (Ba et al. 2016, eq. 4; Zhang and Sennrich
2019, eq. 4). An epsilon that counts is one more element of the row, ``sqrt(n * epsilon)``.

``x - mean`` has one scale for loud and quiet rows, as ``x`` has. Where that costs more than another L2_NORMALIZATION
does, the rows are divided by their lengths first: the norm of ``x / |x|`` is that of ``x``. And what is left of the
mean in a quiet row, less than a step of that scale, is a share of its length: behind L2_NORMALIZATION it is seen and
taken off. In float it is zero there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...data.dataset import Array
from .editing import Editor
from .norm_estimates import WORTH_DB, less_mean, ratio, rounded, units
from .norm_patterns import Norm
from .norm_rows import Rows

_SPARE = 1.1  # for values larger than those of the samples


class Way(NamedTuple):
    """What is done besides an L2_NORMALIZATION of rows less their mean.

    Attributes:
        first: Another L2_NORMALIZATION, of the rows with their mean.
        again: How large a mean may be left behind it, to be taken off, and how large what then remains; None to let
            it be.
    """

    first: bool = False
    again: tuple[float, float] | None = None


_WAYS = ((False, False), (False, True), (True, False), (True, True))  # first, again


def by_units(rows: Array, epsilon: float) -> float:
    """Estimate the signal to noise, in dB, of a norm of rows without a mean."""
    return _of_units(rows, units(rounded(rows, rows), math.sqrt(rows.shape[-1] * epsilon))[0], epsilon)


def best_way(norm: Norm, given: Array, rows: Array) -> tuple[float, Way]:
    """Return the way that keeps the most of the norm of `given`, the shortest of those that keep about as much.

    Returns:
        What it keeps, in dB, and the way.
    """
    best, most = Way(), -math.inf
    for first, again in _WAYS if norm.mean is not None else _WAYS[:1]:
        kept, reaches = _by_way(norm, given, rows, first=first, again=again)
        if kept - most >= WORTH_DB:
            best, most = Way(first, reaches if again else None), kept
    return most, best


def through_units(editor: Editor, norm: Norm, way: Way, *, epsilon: bool) -> None:
    """Write the norm that way; `epsilon` says whether it counts."""
    rows, index = Rows(editor, norm), norm.taken
    if norm.mean is not None and not way.first:
        index = editor.add(rows.place, "SUB", [index, norm.mean], (norm.shape, rows.name))
    index = rows.turned(index)
    more = rows.element(math.sqrt(norm.count * norm.epsilon)) if epsilon else None
    if way.first:
        longer = rows.units(index, more)
        index, more = (longer, None) if more is None else (rows.row(longer), rows.more(longer))
        index = rows.write("SUB", index, rows.mean(index))
    index = rows.units(index, more)
    index = index if more is None else rows.row(index)
    if way.again is not None:
        mean = rows.mean(index)
        index = rows.write("SUB", index, mean)
        for made, reach in zip((mean, index), way.again, strict=True):  # float does not show them
            editor.bound(made, reach)
    rows.finish(index, math.sqrt(norm.count))


def _by_way(norm: Norm, given: Array, rows: Array, *, first: bool, again: bool) -> tuple[float, tuple[float, float]]:
    """Estimate the signal to noise of a norm of what `given` is in 8 bits, and how far `Way.again` reaches."""
    seen, more = rounded(given, given), np.asarray(math.sqrt(norm.count * norm.epsilon))
    if first:
        seen, more = units(seen, more)
    seen = seen if norm.mean is None else less_mean(seen)
    made, _ = units(seen, rounded(more, seen))
    mean = made.mean(axis=-1, keepdims=True)
    reaches = _SPARE * float(np.abs(mean).max()), _SPARE * float(np.abs(made - mean).max())
    return _of_units(rows, less_mean(made) if again else made, norm.epsilon), reaches


def _of_units(rows: Array, made: Array, epsilon: float) -> float:
    wanted = rows / np.sqrt(np.mean(rows**2, axis=-1, keepdims=True) + epsilon)
    return ratio(wanted, rounded(made * math.sqrt(rows.shape[-1]), wanted))
