"""Ranges from distributions, against a search through the values themselves."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.converters.clipping import least_error, percentile
from edgeopt.converters.histograms import Histograms

RNG = np.random.default_rng(1)
NORMAL = RNG.normal(size=100_000).astype(np.float32)
OUTLIERS = np.append(NORMAL, np.float32([60, -30])).astype(np.float32)


def histogram(values):
    found = Histograms([values.size], values.size)
    found.add([values], values.min(keepdims=True), values.max(keepdims=True))
    return found.of(0), (float(values.min()), float(values.max()))


@pytest.mark.parametrize("percent", [0.01, 0.1, 5.0])
@pytest.mark.parametrize("values", [NORMAL, OUTLIERS], ids=["normal", "outliers"])
def test_the_percentile_is_that_of_the_values_to_a_bin(values, percent):
    found, extremes = histogram(values)
    width = np.diff(found.edges)[0]
    np.testing.assert_allclose(
        percentile(found, extremes, percent), np.percentile(values, [percent, 100 - percent]), rtol=0, atol=2 * width
    )


def test_where_less_than_one_value_would_be_outside_the_range_is_whole():
    found, extremes = histogram(NORMAL[:1000])
    assert percentile(found, extremes, 0.01) == extremes


def error(values, low, high):
    """The mean squared error of 8-bit values."""
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    stored = np.clip(np.round(values / scale) + zero, 0, 255)
    return float(np.mean((scale * (stored - zero) - values.astype(np.float64)) ** 2))


@pytest.mark.parametrize(
    "values", [NORMAL, OUTLIERS, np.maximum(OUTLIERS, 0), RNG.uniform(0, 1, 5000).astype(np.float32)]
)
def test_no_range_of_a_fine_search_has_a_smaller_error(values):
    found, extremes = histogram(values)
    low, high = least_error(found, extremes)
    ends = np.geomspace(0.02, 1, 60)
    least = min(
        error(values, one * min(extremes[0], 0), other * extremes[1])
        for one in (ends if extremes[0] < 0 else [1.0])
        for other in ends
    )
    assert min(extremes[0], 0) - 1e-6 <= low <= 0 < high <= extremes[1]
    assert error(values, low, high) < 1.05 * least  # ends here and there are 5 % and 7 % apart


def test_zeros_cost_nothing_and_do_not_narrow_a_range():
    rare = np.zeros(100_000, np.float32)
    rare[:5] = [1, 2, 3, 4, 5]
    assert least_error(*histogram(rare)) == (0.0, 5.0)
