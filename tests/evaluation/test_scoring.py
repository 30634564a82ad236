"""Intervals and drops: what they promise, measured."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.evaluation.auc import area_parts
from edgeopt.evaluation.bootstrap import mean_interval
from edgeopt.evaluation.metrics import load_metric
from edgeopt.evaluation.scoring import agreement, drop, evaluate

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


def test_accuracy_has_an_interval_of_shares_and_errors_have_a_bootstrap() -> None:
    labels = np.array([0, 1, 2, 0])
    score = evaluate(ACCURACY, labels, one_hot(np.array([0, 1, 2, 1])))
    assert (score.value, score.ci_method) == (0.75, "agresti-coull")
    assert score.ci95 == pytest.approx((0.2891, 0.9659), abs=1e-4)  # (3 + 1.9207) / (4 + 3.8415) +- 1.96 sqrt(...)
    error = evaluate(MAE, np.zeros(4), np.array([0.0, 1.0, 2.0, 4.0]))
    assert (error.value, error.ci_method) == (1.75, "studentised")
    assert error.ci95[0] == 0, "no error is negative"
    assert error.ci95[1] > 4, "four samples say little"


def test_a_drop_is_positive_when_the_candidate_is_worse_whatever_the_direction() -> None:
    labels = np.array([0, 1, 2, 0])
    right, half = one_hot(labels), one_hot(np.array([0, 1, 0, 1]))
    assert paired_drop(labels, half, right)[0] == 0.5
    assert paired_drop(labels, right, half)[0] == -0.5
    values = np.array([1.0, 2.0])
    assert paired_drop(values, values + 0.25, values, MAE)[0] == 0.25
    assert paired_drop(values, values, values + 0.25, MAE)[0] == -0.25


def test_the_same_outputs_have_no_drop_and_still_some_doubt() -> None:
    labels = np.arange(100) % 3
    outputs = noisy(np.random.default_rng(0), labels, 0.8)
    assert paired_drop(labels, outputs, outputs) == (0.0, pytest.approx((-0.0370, 0.0370), abs=5e-5))


@pytest.mark.parametrize("metric", ["accuracy", "auc", "mae", "mse"])
def test_no_interval_is_of_no_width(metric: str) -> None:
    labels = np.arange(60) % 2
    found = load_metric(metric)
    score = evaluate(found, labels, labels.astype(float))
    low, high = drop(found, labels, labels.astype(float), labels.astype(float), (score, score))[1]
    assert low < 0 < high
    assert score.ci95[1] > score.ci95[0]


def test_the_bad_end_of_an_error_s_drop_is_above_it() -> None:
    """Less is better: a file whose errors are larger has a positive drop, and its interval is as positive."""
    rng = np.random.default_rng(0)
    theirs = rng.exponential(1, 200)
    worse, (low, high) = paired_drop(np.zeros(200), 1.5 * theirs, theirs, MAE)
    assert 0 < low < worse < high
    better, (low, high) = paired_drop(np.zeros(200), theirs, 1.5 * theirs, MAE)
    assert low < better < high < 0


def largest_error(labels: np.ndarray, output: np.ndarray) -> float:
    return float(np.abs(output - labels).max())


largest_error.higher_is_better = False  # type: ignore[attr-defined]


def test_so_it_is_of_an_error_that_is_no_mean() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.uniform(0.9, 1, 200)
    worse, (low, high) = paired_drop(np.zeros(200), 3 * theirs, theirs, load_metric(largest_error))
    assert worse == pytest.approx(2, abs=0.01) and 1 < low < worse < high


def root_mean_square(labels: np.ndarray, output: np.ndarray) -> float:
    return float(np.sqrt(np.square(output - labels).mean()))


def test_a_metric_that_is_no_mean_is_resampled_with_the_labels_that_belong_to_each_output() -> None:
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=200), rng.uniform(0, 1000, 200)
    score = evaluate(load_metric(root_mean_square), labels, labels + noise)
    assert (score.ci_method, score.scale) == ("studentised", score.value)
    # 1.96 standard errors of a standard deviation of 1: 1.96 / sqrt(2 * 200) = 0.098.
    assert [score.value - score.ci95[0], score.ci95[1] - score.value] == pytest.approx([0.098] * 2, rel=0.35)
    same = paired_drop(labels, labels + 2, labels + 2, load_metric(root_mean_square))
    assert same == (0.0, pytest.approx((-0.0377, 0.0377), abs=1e-4)), "twice what 200 equal samples leave open"


def test_one_broken_answer_in_a_hundred_is_covered() -> None:
    """What `evaluate` and `drop` were before: [0, 0] whenever no answer differs, which is 37 times in 100."""
    labels, held = np.zeros(100, int), []
    for seed in range(200):
        broken = np.random.default_rng(seed).random(100) < 0.01
        low, high = paired_drop(labels, one_hot(broken.astype(int)), one_hot(labels))[1]
        held.append(low <= 0.01 <= high)
    assert np.mean(held) >= 0.95 - 0.046  # three standard errors of 200 runs


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


def test_the_drop_of_an_area() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 200)
    theirs = labels + rng.normal(0, 0.8, 200)
    ours = theirs + rng.normal(0, 1.5, 200)
    worse, (low, high) = paired_drop(labels, ours, theirs, AUC)
    assert worse > 0 and low < worse < high
    same, (low, high) = paired_drop(labels, theirs, theirs, AUC)
    assert same == 0.0 and -0.1 < low < 0 < high < 0.1


def test_the_doubt_of_an_area_s_drop_is_that_of_the_rarest_class() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [98, 2])
    theirs = labels + rng.normal(0, 0.3, 100)
    ours = theirs + rng.normal(0, 0.5, 100)
    parts = [area_parts(labels, outputs) for outputs in (ours, theirs)]
    worse, (low, high) = paired_drop(labels, ours, theirs, AUC)
    plain = mean_interval(parts[1].values - parts[0].values, 100 / 2)
    assert worse > 0.02
    # Student's quantiles of 1 and of 99 degrees of freedom.
    assert [worse - low, high - worse] == pytest.approx(
        [12.706 / 1.984 * (worse - plain[0]), 12.706 / 1.984 * (plain[1] - worse)], rel=1e-3
    )


def test_agreement_is_about_classes_only() -> None:
    ours, theirs = one_hot(np.array([0, 1, 2, 0])), one_hot(np.array([0, 1, 1, 1]))
    assert agreement(ACCURACY, ours, theirs) == 0.5
    assert agreement(ACCURACY, ours, 7 * ours + 1) == 1.0
    assert agreement(MAE, ours, theirs) is None
    assert agreement(ACCURACY, {"a": ours}, theirs) is None
    assert agreement(ACCURACY, ours, theirs[:, :2]) is not None
