"""Intervals of means and of metrics of one's own: coverage, and a width where nothing differs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from edgeopt.errors import DataError
from edgeopt.evaluation.bootstrap import mean_interval, whole_interval
from edgeopt.evaluation.tango import no_difference

RUNS = 400  # three standard errors of a coverage of 0.95 are 0.033


def covers(draw: Callable[[np.random.Generator], np.ndarray], truth: float) -> float:
    found = []
    for seed in range(RUNS):
        low, high = mean_interval(draw(np.random.default_rng(seed)), 1.0, seed)
        found.append(low <= truth <= high)
    return float(np.mean(found))


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda rng: rng.exponential(1, 50), 1.0),
        (lambda rng: rng.lognormal(0, 1, 50), math.exp(0.5)),
        (lambda rng: rng.exponential(1, 50) - rng.exponential(1, 50), 0.0),
        (lambda rng: (rng.random(50) < 0.04) * rng.exponential(1, 50), 0.04),
        (lambda rng: (rng.random(100) < 0.02) * rng.normal(1, 1, 100), 0.02),
    ],
    ids=["exponential", "lognormal", "heavy on both sides", "rare", "rare of either sign"],
)
def test_it_covers_from_50_samples_on(draw: Callable[[np.random.Generator], np.ndarray], truth: float) -> None:
    assert covers(draw, truth) >= 0.95 - 0.033


def test_values_that_are_all_equal_leave_a_doubt() -> None:
    low, high = mean_interval(np.full(100, 2.0), 0.5)
    assert (low, high) == pytest.approx((2 - 0.5 * no_difference(100), 2 + 0.5 * no_difference(100)))
    assert mean_interval(np.zeros(1), 1.0)[1] > 0.5, "one sample says little"
    assert mean_interval(np.zeros(10), 1.0, count=1000)[1] == pytest.approx(no_difference(1000))


def test_the_seed_decides_and_the_mean_lies_inside() -> None:
    values = np.random.default_rng(0).exponential(1, 80)
    assert mean_interval(values, 1.0, 3) == mean_interval(values, 1.0, 3)
    low, high = mean_interval(values, 1.0)
    assert low < values.mean() < high


def test_two_values_and_many_values_are_no_special_case() -> None:
    low, high = mean_interval(np.array([0.0, 1.0]), 1.0)
    assert low < 0.5 < high
    many = np.random.default_rng(0).normal(size=20_000)
    low, high = mean_interval(many, 1.0)
    # Of a normal mean: 1.96 / sqrt(20000) = 0.01386; 2000 resamples know their 2.5 % to 4 %.
    assert (high - low) / 2 == pytest.approx(0.01386, rel=0.06)


@pytest.mark.parametrize("statistic", [np.median, lambda values: float(np.sqrt(np.square(values).mean()))])
def test_a_metric_that_is_no_mean(statistic: Callable[[np.ndarray], float]) -> None:
    truth = float(statistic(np.random.default_rng(9).exponential(1, 1_000_000)))
    held = []
    for seed in range(150):
        values = np.random.default_rng(seed).exponential(1, 60)
        low, high = whole_interval(lambda rows, v=values: float(statistic(v[rows])), 60, float(statistic(values)), 1.0)
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.95 - 0.054  # three standard errors of 150 runs


def test_of_few_rows_it_is_that_of_the_pseudo_values() -> None:
    values = np.random.default_rng(0).exponential(1, 8)

    def compute(rows: np.ndarray) -> float:
        return float(values[rows].mean() ** 2)

    whole = compute(np.arange(8))
    pseudo = np.array([8 * whole - 7 * compute(np.delete(np.arange(8), row)) for row in range(8)])
    assert whole - pseudo.mean() > 0.03, "it is moved to have the metric itself in its middle"
    of_pseudo = mean_interval(pseudo + (whole - pseudo.mean()), 1.0)
    assert whole_interval(compute, 8, whole, 1.0)[1] == pytest.approx(of_pseudo[1])


def test_rows_that_the_metric_refuses_are_left_out_and_none_at_all_is_no_error() -> None:
    def refuses(rows: np.ndarray) -> float:
        raise DataError("one class only")

    low, high = whole_interval(refuses, 30, 0.7, 1.0)
    assert low < 0.7 < high
