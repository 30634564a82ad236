"""The area under the ROC curve, sample by sample, with an interval that covers for few positives and near 1.

Bootstraps do not: the percentile and the studentised one cover 0.88 to 0.92 where 20 of 100 samples are positive and
the area is 0.92, and have no width at 1. See ``benchmarks/intervals.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..devices.agent.stats import student_quantile
from .metrics import Array, Outputs, auc_problems
from .tango import Z95

_HALVINGS = 60


@dataclass(frozen=True, eq=False)
class AreaParts:
    """An area as a mean over samples.

    Attributes:
        values: Shape (n,): pseudo-values, whose mean is the area, and whose variance / n is DeLong's
            (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988).
        rarest: Samples of the smaller side of the smallest class: what the area hangs on.
        count: All samples.
    """

    values: Array
    rarest: int
    count: int


def area_parts(labels: Array, outputs: Outputs) -> AreaParts:
    """Return the area's parts; of several classes the mean of each against the rest.

    Raises:
        DataError: Labels that do not fit, or of one class only.
    """
    problems = auc_problems(labels, outputs)
    values = np.mean([_pseudo_values(positive, scores) for positive, scores in problems], axis=0)
    sides = [min(int(positive.sum()), int((~positive).sum())) for positive, _ in problems]
    return AreaParts(values, min(sides), len(values))


def area_interval(parts: AreaParts) -> tuple[float, float]:
    """Return a 95 % interval of the area.

    The ends are the outermost of DeLong's on the logit scale, with Student's quantile for the rarest class, and of
    Newcombe's method 5 (Statistics in Medicine 25, 2006), which has Wilson's form and a width at 1 too.
    """
    area = float(parts.values.mean())
    other = max(parts.count - parts.rarest, parts.rarest)
    low, high = _newcombe(area, parts.rarest, other)
    variance = float(parts.values.var(ddof=1)) / parts.count if parts.count > 1 else 0.0
    if variance > 0 and 0 < area < 1:
        half = student_quantile(max(1, parts.rarest - 1)) * math.sqrt(variance) / (area * (1 - area))
        centre = math.log(area / (1 - area))
        low, high = min(low, _logistic(centre - half)), max(high, _logistic(centre + half))
    return low, high


def _pseudo_values(positive: Array, scores: Array) -> Array:
    """Return one number a sample: the area, and n / n_c times how far the sample's own share lies from it."""
    count, members = len(positive), int(positive.sum())
    rest = count - members
    ranks, above = _mid_ranks(scores), np.empty(count)
    above[positive] = (ranks[positive] - _mid_ranks(scores[positive])) / rest
    above[~positive] = 1 - (ranks[~positive] - _mid_ranks(scores[~positive])) / members
    area = above[positive].mean()
    return np.asarray(area + np.where(positive, count / members, count / rest) * (above - area))


def _mid_ranks(scores: Array) -> Array:
    _, place, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(sizes) - (sizes - 1) / 2)[place.reshape(-1)])


def _newcombe(area: float, first: int, second: int) -> tuple[float, float]:
    weight = (first + second) / 2 - 1

    def error(at: float) -> float:
        spread = 1 + weight * (1 - at) / (2 - at) + weight * at / (1 + at)
        return Z95 * math.sqrt(max(0.0, at * (1 - at) * spread) / (first * second))

    low = _first(lambda at: at + error(at) >= area, 0.0, area)
    return low, _first(lambda at: at - error(at) >= area, area, 1.0)


def _first(reached: Callable[[float], bool], low: float, high: float) -> float:
    """Return where `reached` turns true between `low` and `high`."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if reached(middle):
            high = middle
        else:
            low = middle
    return (low + high) / 2


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
