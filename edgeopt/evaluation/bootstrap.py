"""Intervals of means, and of metrics that are no mean, which keep their 95 % for skewed errors and rare differences.

What covers how often is simulated by ``benchmarks/intervals.py``; its table is in docs/validate.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from ..devices.agent.arith import percentile
from ..devices.agent.stats import student_quantile
from ..errors import DataError, UsageError
from .metrics import Array
from .tango import Z95, no_difference, tango_interval

Interval = tuple[float, float]

RESAMPLES = 2000
# A metric that is not a mean over samples is computed anew for every resample, and without each of these groups.
RESAMPLES_OF_WHOLE = 200
GROUPS = 50
# Up to so many values that differ from all others, their number decides, and not their spread.
FEW = 12
_AT_ONCE = 2_000_000  # numbers drawn together: bounds the memory


def mean_interval(values: Array, scale: float, seed: int = 0, *, count: int | None = None) -> Interval:
    """Return a 95 % interval of the mean of what `values` are a sample of; never one of no width.

    The ends are the outermost of

    - the studentised bootstrap (Efron and Tibshirani 1993, 12.5), which follows skewed values, widened as Student's
      quantile is over the normal one's, and by |skewness| / sqrt(n): of the longest tails, 50 samples have not seen
      enough (0.92 without, for the product of a lognormal and an exponential error);
    - Student's interval, for values of heavy tails on both sides, where the bootstrap is too narrow;
    - where all values but a few (`FEW`) are equal, Tango's interval of how many may differ, times how far: the
      largest difference seen, and more the fewer were seen, up to `scale`.

    Args:
        values: Shape (n,), n >= 1.
        scale: How far a value that was not seen may lie from the others; matters where few or none differ.
        seed: Of the bootstrap.
        count: Samples behind the values, where a value stands for several; None: one each.

    Example:
        >>> low, high = mean_interval(np.random.default_rng(0).exponential(1, 50), scale=1)
        >>> bool(low < 1 < high)
        True
    """
    numbers = np.asarray(values, np.float64)
    distinct, often = np.unique(numbers, return_counts=True)
    usual = float(distinct[np.argmax(often)])
    apart = numbers - usual
    differing = int(np.count_nonzero(apart))
    if not differing:
        half = no_difference(count or len(numbers)) * scale
        return usual - half, usual + half
    found = [_student(numbers)]
    if differing <= FEW:
        found.append(_few(apart, usual, scale))
    if differing > 2:
        found.append(_studentised(numbers, seed))
    return min(low for low, _ in found), max(high for _, high in found)


def whole_interval(
    compute: Callable[[Array], float], count: int, value: float, scale: float, seed: int = 0
) -> Interval:
    """Return a 95 % interval of ``compute(all rows)``, for metrics that are no mean.

    The ends are the outermost of the percentile bootstrap, which takes metrics like a median, and of `mean_interval`
    on the jackknife's pseudo-values (Tukey 1958), which is the better for smooth ones. Rows that the metric refuses,
    such as those of one class only, are left out.

    Args:
        compute: Takes row numbers and returns the metric on these; may raise `DataError` or `UsageError`.
        count: Number of rows.
        value: The metric on all rows.
        scale: As in `mean_interval`.
        seed: Of the resampling.
    """
    rng = np.random.default_rng(seed)
    drawn = _computed(compute, [rng.integers(0, count, count) for _ in range(RESAMPLES_OF_WHOLE)])
    groups = np.array_split(rng.permutation(count), min(count, GROUPS))
    size = len(groups)
    left = [np.sort(np.concatenate([*groups[:one], *groups[one + 1 :]])) for one in range(size)] if size > 1 else []
    without = _computed(compute, left)
    pseudo = size * value - (size - 1) * without if len(without) else np.array([value])
    pseudo += value - pseudo.mean()
    low, high = mean_interval(_rounded(pseudo, scale), scale, seed, count=count)
    if len(drawn):
        low, high = min(low, percentile(drawn, 2.5)), max(high, percentile(drawn, 97.5))
    return low, high


def _computed(compute: Callable[[Array], float], chosen: list[Array]) -> Array:
    found = []
    for rows in chosen:
        with suppress(DataError, UsageError):
            found.append(compute(rows))
    return np.array(found, np.float64)


def _rounded(values: Array, scale: float) -> Array:
    """Return values without the last bits, so that those that are equal but for rounding are equal."""
    grain = 1e-12 * max(scale, float(np.abs(values).max()))
    return np.asarray(np.round(values / grain) * grain)


def _student(values: Array) -> Interval:
    count, mean = len(values), float(values.mean())
    half = student_quantile(count - 1) * float(values.std(ddof=1)) / math.sqrt(count)
    return mean - half, mean + half


def _few(apart: Array, usual: float, scale: float) -> Interval:
    """Return the interval where a few values lie `apart` from the `usual` one."""
    above, below = int((apart > 0).sum()), int((apart < 0).sum())
    largest = float(np.abs(apart).max())
    reach = min(max(scale, largest), largest * (1 + 4 / (above + below)))
    low, high = tango_interval(above, below, len(apart))
    return usual + low * reach, usual + high * reach


def _studentised(values: Array, seed: int) -> Interval:
    count, mean = len(values), float(values.mean())
    error = float(values.std(ddof=1)) / math.sqrt(count)
    rng = np.random.default_rng(seed)
    rows = max(1, min(RESAMPLES, _AT_ONCE // count))
    found = []
    for start in range(0, RESAMPLES, rows):
        drawn = values[rng.integers(0, count, (min(rows, RESAMPLES - start), count))]
        errors = drawn.std(axis=1, ddof=1) / math.sqrt(count)
        spread = errors > 0
        found.append((drawn.mean(axis=1)[spread] - mean) / errors[spread])
    skewness = abs(float(((values - mean) ** 3).mean())) / float(values.std()) ** 3
    widening = student_quantile(count - 1) / Z95 * (1 + skewness / math.sqrt(count))
    ratios = np.concatenate(found) * widening
    return mean - percentile(ratios, 97.5) * error, mean - percentile(ratios, 2.5) * error
