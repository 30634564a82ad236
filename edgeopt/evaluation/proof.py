"""What a score proves about a limit: the bad end of its interval, and how many samples would settle the question."""

from __future__ import annotations

import math
from collections.abc import Callable

from .budget import Evidence
from .scoring import Score
from .tango import share_interval, tango_interval

_MOST = 2**40  # times the samples that there are: beyond, no number of samples settles it
_HALVINGS = 60


def evidence_of_metric(score: Score, samples: int) -> Evidence:
    """Return what a score proves of a least value: its bad end is the lower one."""
    low = score.ci95[0]

    def low_end(times: float) -> float:
        if score.ci_method == "agresti-coull":
            return share_interval(score.value * samples * times, samples * times)[0]
        return score.value - (score.value - low) / math.sqrt(times)

    return Evidence(score.value, low, samples, lambda limit: _needed(lambda times: low_end(times) >= limit, samples))


def evidence_of_drop(
    scores: tuple[Score, Score], drop: float, interval: tuple[float, float], samples: int, *, better: bool
) -> Evidence:
    """Return what a drop proves of a largest one: its bad end is the upper one.

    Args:
        scores: Of the candidate and of the baseline.
        drop: Positive when the candidate is worse.
        interval: Of the drop.
        samples: That both were scored on.
        better: Whether a higher value of the metric is better.
    """
    ours, theirs = scores
    high = interval[1]
    worse = None if ours.values is None or theirs.values is None else (theirs.values - ours.values) * (2 * better - 1)
    shares = ours.ci_method == theirs.ci_method == "agresti-coull"

    def high_end(times: float) -> float:
        if shares and worse is not None:
            lost, won = int((worse > 0).sum()), int((worse < 0).sum())
            return tango_interval(lost * times, won * times, samples * times)[1]
        # Without any difference, the doubt is of one sample in so many; else it goes with the square root.
        none_differs = worse is not None and not worse.any()
        return drop + (high - drop) / (times if none_differs else math.sqrt(times))

    return Evidence(drop, high, samples, lambda limit: _needed(lambda times: high_end(times) <= limit, samples))


def _needed(settled: Callable[[float], bool], samples: int) -> int | None:
    """Return the number of samples at which it is settled, the rest being as it was; None for no number."""
    low, high = 1.0, 2.0
    while not settled(high):
        low, high = high, 2 * high
        if high > _MOST:
            return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return math.ceil(high * samples)
