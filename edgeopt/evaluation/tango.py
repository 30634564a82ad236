"""Intervals of shares: of one share of right answers, and of the difference of two over the same samples.

Neither is ever of no width: that no answer differs among 100 still allows that 3.7 in 100 do.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution
_HALVINGS = 60


def share_interval(successes: float, count: float) -> tuple[float, float]:
    """Return a 95 % interval of a share: Agresti and Coull's (The American Statistician 52, 1998).

    It has the centre of Wilson's score interval and contains it. Wilson's covers a share near 0 or 1 with 0.84 only;
    this one every share with at least 0.934, from 50 samples on (`benchmarks/intervals.py`).

    Args:
        successes: How many were right.
        count: Of how many, at least 1.

    Example:
        >>> [round(end, 3) for end in share_interval(99, 100)]
        [0.94, 1.0]
    """
    weight = count + Z95**2
    centre = (successes + Z95**2 / 2) / weight
    half = Z95 * math.sqrt(centre * (1 - centre) / weight)
    return max(0.0, centre - half), min(1.0, centre + half)


def tango_interval(lost: float, won: float, count: float) -> tuple[float, float]:
    """Return Tango's 95 % score interval of (lost - won) / count (Tango, Statistics in Medicine 17, 1998).

    Args:
        lost: Samples that only the first of two answers right.
        won: Samples that only the second answers right.
        count: All samples, those on which the two agree included; at least 1. Numbers need not be whole.

    Returns:
        Both ends, in [-1, 1]: the differences at which the score statistic, with the share of `won` that is most
        likely under that difference, is 1.96 and -1.96.

    Example:
        >>> [round(end, 4) for end in tango_interval(0, 0, 100)]
        [-0.037, 0.037]
    """
    estimate = (lost - won) / count

    def statistic(difference: float) -> float:
        linear = -lost - won + (2 * count - lost + won) * difference
        constant = -won * difference * (1 - difference)
        likely = (math.sqrt(max(0.0, linear**2 - 8 * count * constant)) - linear) / (4 * count)
        variance = count * (2 * likely + difference * (1 - difference))
        distance = lost - won - count * difference
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    return _falling(statistic, -1.0, estimate, Z95), _falling(statistic, estimate, 1.0, -Z95)


def no_difference(count: float) -> float:
    """Return the largest share that may differ when none of `count` samples does, by Tango's interval.

    Example:
        >>> round(no_difference(100), 4)
        0.037
    """
    return Z95**2 / (count + Z95**2)


def _falling(function: Callable[[float], float], low: float, high: float, target: float) -> float:
    """Return where a function that falls from `low` to `high` is `target`."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if function(middle) > target:
            low = middle
        else:
            high = middle
    return (low + high) / 2
