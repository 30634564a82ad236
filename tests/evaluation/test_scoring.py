"""Intervals and drops: what they promise, measured."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.evaluation.metrics import load_metric
from edgeopt.evaluation.scoring import agreement, bootstrap_means, drop, evaluate

ACCURACY, MAE, AUC = load_metric("accuracy"), load_metric("mae"), load_metric("auc")


def one_hot(classes: np.ndarray, count: int = 3) -> np.ndarray:
    return np.eye(count)[classes]


def noisy(rng: np.random.Generator, classes: np.ndarray, share: float) -> np.ndarray:
    """Outputs of which about `share` are right."""
    wrong = rng.random(len(classes)) > share
    return one_hot(np.where(wrong, (classes + 1) % 3, classes))


def paired_drop(labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, metric: object = ACCURACY, seed: int = 0):
    scores = (evaluate(metric, labels, ours, seed), evaluate(metric, labels, theirs, seed))
    return drop(metric, labels, ours, theirs, scores, seed)


def test_accuracy_has_wilson_s_interval_and_errors_have_a_bootstrap() -> None:
    labels = np.array([0, 1, 2, 0])
    score = evaluate(ACCURACY, labels, one_hot(np.array([0, 1, 2, 1])))
    assert (score.value, score.ci_method) == (0.75, "wilson")
    assert score.ci95 == pytest.approx((0.3006, 0.9544), abs=1e-4)
    error = evaluate(MAE, np.zeros(4), np.array([0.0, 1.0, 2.0, 4.0]))
    assert (error.value, error.ci_method) == (1.75, "bootstrap")
    assert 0 <= error.ci95[0] < 1.75 < error.ci95[1] <= 4


def test_a_drop_is_positive_when_the_candidate_is_worse_whatever_the_direction() -> None:
    labels = np.array([0, 1, 2, 0])
    right, half = one_hot(labels), one_hot(np.array([0, 1, 0, 1]))
    assert paired_drop(labels, half, right)[0] == 0.5
    assert paired_drop(labels, right, half)[0] == -0.5
    values = np.array([1.0, 2.0])
    assert paired_drop(values, values + 0.25, values, MAE)[0] == 0.25
    assert paired_drop(values, values, values + 0.25, MAE)[0] == -0.25


def test_the_same_outputs_have_no_drop_and_no_doubt() -> None:
    labels = np.arange(30) % 3
    outputs = noisy(np.random.default_rng(0), labels, 0.8)
    assert paired_drop(labels, outputs, outputs) == (0.0, (0.0, 0.0))


def test_pairing_makes_the_interval_narrower_than_two_independent_ones() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 2000)
    theirs = noisy(rng, labels, 0.8)
    ours = theirs.copy()
    ours[:40] = one_hot((labels[:40] + 1) % 3)  # differs in at most 40 samples
    _, (low, high) = paired_drop(labels, ours, theirs)
    alone = evaluate(ACCURACY, labels, ours).ci95
    assert high - low < 0.5 * (alone[1] - alone[0])


def test_the_interval_of_a_drop_covers_the_true_drop_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, 400)
        _, (low, high) = paired_drop(labels, noisy(rng, labels, 0.80), noisy(rng, labels, 0.85), seed=seed)
        covered += low <= 0.05 <= high
    # 95 % of 200, less 3 standard errors of 1.5 points: 90.4 %.
    assert covered >= 0.904 * 200


def test_a_metric_that_is_no_mean_is_resampled_as_a_whole() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 200)
    theirs = labels + rng.normal(0, 0.8, 200)
    ours = theirs + rng.normal(0, 1.5, 200)
    worse, (low, high) = paired_drop(labels, ours, theirs, AUC)
    assert worse > 0 and low < worse < high
    assert paired_drop(labels, theirs, theirs, AUC) == (0.0, (0.0, 0.0))


def test_resamples_that_the_metric_refuses_are_left_out() -> None:
    score = evaluate(AUC, np.array([0, 1]), np.array([0.1, 0.9]))  # half of the resamples hold one class only
    assert score.value == 1.0 and score.ci95 == (1.0, 1.0)


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).normal(size=500)
    np.testing.assert_array_equal(bootstrap_means(values, 3), bootstrap_means(values, 3))
    assert (bootstrap_means(values, 3) != bootstrap_means(values, 4)).any()


def test_the_shortcut_for_few_distinct_values_has_the_spread_of_the_long_way() -> None:
    values = np.repeat([0.0, 1.0], [30, 70])
    found = bootstrap_means(values, 0)
    # A mean of 100 draws of 0.7: standard error sqrt(0.7 * 0.3 / 100); 2000 resamples know it to 1.6 %, 3 of them 5 %.
    assert found.std() == pytest.approx(np.sqrt(0.7 * 0.3 / 100), rel=0.05)
    assert found.mean() == pytest.approx(0.7, abs=3 * 0.0458 / np.sqrt(2000))


def test_agreement_is_about_classes_only() -> None:
    ours, theirs = one_hot(np.array([0, 1, 2, 0])), one_hot(np.array([0, 1, 1, 1]))
    assert agreement(ACCURACY, ours, theirs) == 0.5
    assert agreement(ACCURACY, ours, 7 * ours + 1) == 1.0
    assert agreement(MAE, ours, theirs) is None
    assert agreement(ACCURACY, {"a": ours}, theirs) is None
    assert agreement(ACCURACY, ours, theirs[:, :2]) is not None
