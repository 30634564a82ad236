"""From how a tensor's values are distributed to the range that its 256 steps span.

What lies outside a range is clipped to it; what lies inside is rounded to a step that is the finer the narrower the
range. Zero is always inside, exactly on a step (Jacob et al. 2018, "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", section 2.1).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .histograms import Histogram

Range = tuple[float, float]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
_STEPS = 255
# What is left of each end: each 5 % less than the one before, down to 1/100.
_SHRINKING = 0.95 ** np.arange(91)


def percentile(histogram: Histogram, extremes: Range, percent: float) -> Range:
    """Return the range that leaves `percent` per cent of the values outside at each end.

    Args:
        histogram: The values.
        extremes: The least and the greatest value that may be returned.
        percent: For instance 0.01, for the percentiles 0.01 and 99.99.
    """
    share = histogram.counts.sum() * percent / 100
    low = _end(histogram.counts, histogram.edges, share)
    high = -_end(histogram.counts[::-1], -histogram.edges[::-1], share)
    return max(low, extremes[0]), min(high, extremes[1])


def _end(counts: Counts, edges: Floats, share: float) -> float:
    """Return where `share` of the values lie below, as if they lay evenly in their bin."""
    if share < 1:
        return float(edges[0])
    below = np.cumsum(counts)
    place = int(np.searchsorted(below, share, side="right"))
    inside = (share - (below[place] - counts[place])) / counts[place]
    return float(edges[place] + inside * (edges[place + 1] - edges[place]))


def least_error(histogram: Histogram, extremes: Range) -> Range:
    """Return the range, at most the extremes, whose expected squared error is the least.

    The error of a clipped value is its distance to the range; that of another is uniform over a step, ``step**2 / 12``
    (Widrow and Kollar 2008, "Quantization Noise", chapter 4), but none in the bin at zero, which is on a step.
    """
    low, high = min(extremes[0], 0.0), max(extremes[1], 0.0)
    lows, highs = low * _SHRINKING, high * _SHRINKING
    middles = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    zero = (histogram.edges[:-1] <= 0) & (histogram.edges[1:] > 0)
    rounded = np.where(zero, 0, histogram.counts)
    below, clipped_low = _outside(middles, histogram.counts, rounded, lows)
    above, clipped_high = _outside(-middles[::-1], histogram.counts[::-1], rounded[::-1], -highs)
    steps = (highs[None] - lows[:, None]) / _STEPS
    inside = rounded.sum() - below[:, None] - above[None]
    error = inside * steps**2 / 12 + clipped_low[:, None] + clipped_high[None]
    place = np.unravel_index(int(np.argmin(error)), error.shape)
    return float(lows[place[0]]), float(highs[place[1]])


def _outside(values: Floats, counts: Counts, rounded: Counts, ends: Floats) -> tuple[Floats, Floats]:
    """Return, for each end of a range, how many rounded values are below it, and the sum of their squared distances."""
    place = np.searchsorted(values, ends)
    number, first, second = (np.append(0.0, np.cumsum(counts * values**power))[place] for power in range(3))
    return np.append(0.0, np.cumsum(rounded))[place], second - 2 * ends * first + ends**2 * number
