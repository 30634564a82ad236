"""The area's parts and its interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeopt.errors import DataError
from edgeopt.evaluation.auc import AreaParts, area_interval, area_parts
from edgeopt.evaluation.metrics import load_metric


def test_the_parts_mean_is_the_area_with_ties_and_with_several_classes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    scores = np.round(labels + rng.normal(0, 1, 60), 1)
    parts, area = area_parts(labels, scores), load_metric("auc").whole
    assert area is not None
    assert parts.values.mean() == pytest.approx(area(labels, scores))
    assert (parts.count, parts.rarest) == (60, min(labels.sum(), 60 - labels.sum()))
    three = rng.integers(0, 3, 60)
    outputs = np.eye(3)[three] + rng.normal(0, 1, (60, 3))
    assert area_parts(three, outputs).values.mean() == pytest.approx(area(three, outputs))


def test_the_parts_variance_is_delong_s() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [40, 20])
    scores = labels + rng.normal(0, 1, 60)
    above = np.array([[float(p > q) for q in scores[:40]] for p in scores[40:]])
    delong = above.mean(axis=1).var(ddof=1) / 20 + above.mean(axis=0).var(ddof=1) / 40
    # One variance over all samples in place of one a class: they differ by terms of 1 / n.
    assert area_parts(labels, scores).values.var(ddof=1) / 60 == pytest.approx(delong, rel=0.08)


def test_an_area_of_1_is_not_certain() -> None:
    labels = np.repeat([0, 1], [50, 50])
    low, high = area_interval(area_parts(labels, labels.astype(float)))
    assert 0.9 < low < 0.97 and high == pytest.approx(1.0)


def test_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="one class only"):
        area_parts(np.zeros(5, int), np.arange(5.0))


@pytest.mark.parametrize(("positive", "shift"), [(20, 2.0), (20, 3.5), (50, 1.0)])
def test_it_covers(positive: int, shift: float) -> None:
    truth, labels = 0.5 * (1 + math.erf(shift / 2)), np.repeat([0, 1], [100 - positive, positive])
    held = []
    for seed in range(400):
        scores = np.random.default_rng(seed).normal(size=100) + shift * labels
        low, high = area_interval(area_parts(labels, scores))
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.95 - 0.033  # three standard errors of 400 runs


def hanley_and_mcneil(at: float, first: int, second: int) -> float:
    """1.96 standard errors of an area, as Newcombe's method 5 takes them: with half of all samples but one on each side."""
    each = (first + second) / 2 - 1
    return 1.959964 * math.sqrt(
        at * (1 - at) * (1 + each * (1 - at) / (2 - at) + each * at / (1 + at)) / (first * second)
    )


@pytest.mark.parametrize(("rarest", "count"), [(20, 100), (50, 100), (3, 10)])
def test_where_the_parts_are_equal_the_ends_are_newcombe_s(rarest: int, count: int) -> None:
    low, high = area_interval(AreaParts(np.full(count, 0.8), rarest, count))
    assert low < 0.8 < high
    assert low + hanley_and_mcneil(low, rarest, count - rarest) == pytest.approx(0.8, abs=1e-6)
    assert high - hanley_and_mcneil(high, rarest, count - rarest) == pytest.approx(0.8, abs=1e-6)


def test_where_they_differ_much_the_ends_are_delong_s_on_the_logit_scale() -> None:
    parts = AreaParts(0.8 + np.where(np.arange(100) % 2, 4.0, -4.0), 20, 100)
    error = math.sqrt(16 * 100 / 99 / 100)
    half, centre = 2.093 * error / (0.8 * 0.2), math.log(0.8 / 0.2)  # Student's quantile of 19 degrees of freedom
    expected = [1 / (1 + math.exp(half - centre)), 1 / (1 + math.exp(-half - centre))]
    assert area_interval(parts) == pytest.approx(expected, rel=1e-3)


def test_an_area_of_1_with_parts_that_differ_has_no_logit() -> None:
    assert area_interval(AreaParts(np.array([0.0, 2.0] * 50), 50, 100))[1] == pytest.approx(1.0)
