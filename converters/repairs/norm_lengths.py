"""Norms by the length of each row, which L2_NORMALIZATION shows in one more element of it.

L2_NORMALIZATION has steps of 1/128, and the elements of a row of 256 are about 1/16: 8 steps. One more element ``c``
becomes ``s = c / sqrt(|x|^2 + c^2)``, which is several times larger, and ``1 / sqrt(|x|^2 + n epsilon)`` is
``s / (c sqrt(1 - k s^2))`` with ``k = 1 - n epsilon / c^2``. The values themselves are multiplied by it, and so is
their mean, which is taken off behind: neither is rounded once more to a step that loud and quiet rows share.
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

_SHARES = (0.5, 1.0, 2.0)  # of a length of rows, tried as the one more element
_QUANTILES = (0.0, 0.1, 0.5)  # of the lengths of rows
_VALUES = 2**18  # about, that an estimate looks at
_ROWS = 256  # at least
_MOST = 1 - 1e-6  # of k: a row of zeros has a root then, too
# Of 1 / k - s^2, under which too few steps are left; where k is at its most, under which it is not the norm any more.
_LEAST, _LEAST_AT_MOST = 0.02, 0.1


class Beside(NamedTuple):
    """What is put beside rows.

    Attributes:
        element: The one more element.
        centre: What is taken off all values first; 0 for nothing.
    """

    element: float
    centre: float = 0.0


def best_beside(norm: Norm, given: Array, rows: Array) -> tuple[float, Beside]:
    """Return how much of the norm of `given` is kept that way, in dB, and what to put beside the rows for it."""
    # As many short rows as long ones, and the shortest and longest of all.
    order = np.argsort(np.sum(rows**2, axis=-1), kind="stable")
    count = min(len(rows), max(_ROWS, _VALUES // norm.count))
    chosen = order[np.linspace(0, len(rows) - 1, count).round().astype(int)]
    given, rows = given[chosen], rows[chosen]
    best = _by_length(norm, given, rows, 0.0)
    if norm.mean is not None:
        centred = _by_length(norm, given, rows, float(given.mean()))
        best = centred if centred[0] - best[0] >= WORTH_DB else best
    return best


def through_lengths(editor: Editor, norm: Norm, beside: Beside) -> None:
    """Write the norm that way."""
    rows = Rows(editor, norm)
    index = rows.turned(norm.taken)
    if beside.centre:
        index = rows.write("SUB", index, rows.number(beside.centre))
    mean = None if norm.mean is None else rows.mean(index)
    centred = index if mean is None else rows.write("SUB", index, mean)
    sine = rows.more(rows.units(centred, rows.element(beside.element)))
    share = _share(norm, beside.element)
    square = rows.write("MUL", sine, sine, last=1)
    rest = rows.write("SUB", rows.number(1 / share), square, last=1)
    root = rows.write("MUL", sine, rows.like_root(rest), last=1)
    index = rows.write("MUL", index, root)
    if mean is not None:
        index = rows.write("SUB", index, rows.write("MUL", mean, root, last=1))
    rows.finish(index, math.sqrt(norm.count / share) / beside.element)


def _share(norm: Norm, element: float) -> float:
    """Return ``k``, which is 0 where the element alone is the epsilon, and near 1 where there is hardly any."""
    return min(1 - norm.count * norm.epsilon / element**2, _MOST)


def _by_length(norm: Norm, given: Array, rows: Array, centre: float) -> tuple[float, Beside]:
    seen = rounded(given, given)
    if centre:
        seen, given = rounded(seen - centre, given - centre), given - centre
    centred = seen if norm.mean is None else less_mean(seen)
    squares, more = np.sum(rows**2, axis=-1, keepdims=True), norm.count * norm.epsilon
    wanted, best, element = 1 / np.sqrt(squares + more), -math.inf, 0.0
    root = wanted
    for length in np.quantile(np.sqrt(squares), _QUANTILES):
        for share in _SHARES:
            tried = max(share * float(length), 1.01 * math.sqrt(more))  # at sqrt(n epsilon) k is 0
            if tried > 0 and (found := _root(norm, centred, squares, tried)) is not None:
                kept = ratio(np.ones_like(wanted), found / wanted)
                if kept > best:
                    best, element, root = kept, tried, found
    if not element:
        return best, Beside(element)
    made = rounded(seen * root, given * wanted)
    if norm.mean is not None:
        mean = given.mean(axis=-1, keepdims=True)
        made = made - rounded(rounded(seen.mean(axis=-1, keepdims=True), mean) * root, mean * wanted)
    exact = rows * wanted
    return ratio(exact, rounded(made, exact)), Beside(element, centre)


def _root(norm: Norm, centred: Array, squares: Array, element: float) -> Array | None:
    """Return what is made of ``1 / sqrt(|x|^2 + n epsilon)`` of rows less their mean in 8 bits; None where it is lost.

    Args:
        norm: The norm.
        centred: The rows, rounded.
        squares: Squared lengths of the rows in float.
        element: The one more element.
    """
    share, exact = _share(norm, element), element / np.sqrt(squares + element**2)
    rest = 1 / share - exact**2
    if rest.min() < (_LEAST if share < _MOST else _LEAST_AT_MOST):
        return None
    span = np.array([centred.min(), max(centred.max(), element)])
    _, sine = units(rounded(centred, span), rounded(np.asarray(element), span))
    seen = rounded(1 / share - rounded(sine**2, exact**2), rest)
    inverse = rounded(1 / np.sqrt(np.maximum(seen, rest.max() / 255)), 1 / np.sqrt(rest))
    return np.asarray(rounded(sine * inverse, exact / np.sqrt(rest)) / (element * math.sqrt(share)))
