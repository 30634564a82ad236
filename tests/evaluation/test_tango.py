"""Intervals of shares: their definition, checked by another way, and how often they cover, computed exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeopt.evaluation.tango import Z95, no_difference, share_interval, tango_interval


def chances(count: int, share: float) -> np.ndarray:
    hits = np.arange(count + 1)
    logs = [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in hits]
    return np.exp(np.array(logs) + hits * np.log(share) + (count - hits) * np.log1p(-share))


def wilson(successes: int, count: int) -> tuple[float, float]:
    share, scale = successes / count, 1 + Z95**2 / count
    half = Z95 * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    return (share + Z95**2 / (2 * count) - half) / scale, (share + Z95**2 / (2 * count) + half) / scale


@pytest.mark.parametrize("count", [50, 100])
def test_a_share_s_interval_covers_every_true_share_where_wilson_s_does_not(count: int) -> None:
    def worst(interval: object) -> float:
        ends = np.array([interval(k, count) for k in range(count + 1)])  # type: ignore[operator]
        truths = np.linspace(1e-4, 0.5, 2000)
        return min(float(chances(count, p)[(ends[:, 0] <= p) & (p <= ends[:, 1])].sum()) for p in truths)

    assert worst(share_interval) >= 0.934
    assert worst(wilson) < 0.86


def test_a_share_s_interval_contains_wilson_s_and_has_a_width_at_the_ends() -> None:
    for right in range(21):
        (low, high), (inner_low, inner_high) = share_interval(right, 20), wilson(right, 20)
        assert low <= inner_low + 1e-12 and high >= inner_high - 1e-12 and high > low
    assert share_interval(0, 20)[0] == 0.0 and share_interval(20, 20)[1] == 1.0


def test_no_difference_among_100_samples_still_allows_3_7_points() -> None:
    assert tango_interval(0, 0, 100) == pytest.approx((-0.0370, 0.0370), abs=5e-5)
    assert no_difference(100) == pytest.approx(tango_interval(0, 0, 100)[1])


@pytest.mark.parametrize(("lost", "won", "count"), [(12, 2, 50), (1, 0, 100), (3, 5, 40), (0, 7, 30)])
def test_tango_s_ends_are_where_the_score_statistic_is_1_96(lost: int, won: int, count: int) -> None:
    """The share of `won` under a difference is looked for on a fine grid here, not by the formula."""
    for end, sign in zip(tango_interval(lost, won, count), (1, -1), strict=True):
        grid = np.linspace(max(0.0, -end), (1 - end) / 2, 400_001)[1:-1]
        both = grid + end
        with np.errstate(divide="ignore"):
            likelihood = (
                (lost * np.log(both) if lost else 0)
                + (won * np.log(grid) if won else 0)
                + (count - lost - won) * np.log(1 - grid - both)
            )
        q = grid[np.argmax(likelihood)]
        statistic = (lost - won - count * end) / math.sqrt(count * (2 * q + end * (1 - end)))
        assert statistic == pytest.approx(sign * Z95, abs=2e-3)  # the grid's step is 1e-6 of the share


def test_the_interval_is_the_other_s_with_the_sign_turned() -> None:
    low, high = tango_interval(7, 2, 80)
    assert tango_interval(2, 7, 80) == pytest.approx((-high, -low))
    assert tango_interval(30, 0, 30)[1] == pytest.approx(1.0) and tango_interval(0, 30, 30)[0] == pytest.approx(-1.0)


@pytest.mark.parametrize(("share", "before"), [(0.01, 0.63), (0.002, 0.18)])
def test_a_drop_by_broken_answers_is_covered_where_the_bootstrap_s_was_not(share: float, before: float) -> None:
    """100 samples, of which `share` are broken: exactly, over how many are; the bootstrap is [0, 0] without any."""
    ends = [tango_interval(lost, 0, 100) for lost in range(101)]
    held = np.array([low <= share <= high for low, high in ends])
    assert chances(100, share)[held].sum() >= 0.95
    assert 1 - chances(100, share)[0] == pytest.approx(before, abs=0.01), "what a bootstrap can cover at most"
