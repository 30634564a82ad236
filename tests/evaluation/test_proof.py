"""What a score proves of a limit, and how many samples would."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.evaluation.metrics import load_metric
from edgeopt.evaluation.proof import evidence_of_drop, evidence_of_metric
from edgeopt.evaluation.scoring import drop, evaluate
from edgeopt.evaluation.tango import Z95, share_interval, tango_interval


def found(metric_name, labels, ours, theirs):
    metric = load_metric(metric_name)
    scores = evaluate(metric, labels, ours), evaluate(metric, labels, theirs)
    worse, interval = drop(metric, labels, ours, theirs, scores)
    return evidence_of_drop(scores, worse, interval, len(labels), better=metric.higher_is_better)


def test_no_difference_among_100_samples_needs_381_to_allow_no_more_than_a_point():
    labels = np.arange(100) % 2
    evidence = found("accuracy", labels, np.eye(2)[labels], np.eye(2)[labels])
    assert evidence.bad_end == pytest.approx(0.037, abs=1e-4)
    # z^2 / (n + z^2) = 0.01 at n = 0.99 z^2 / 0.01 = 380.3
    assert evidence.needed(0.01) == 381 == int(0.99 * Z95**2 / 0.01) + 1


def test_with_so_many_samples_the_bad_end_keeps_the_limit():
    labels = np.arange(200) % 2
    outputs = np.eye(2)[labels]
    broken = outputs.copy()
    broken[:2] = broken[:2, ::-1]
    evidence = found("accuracy", labels, broken, outputs)
    needed = evidence.needed(0.02)
    assert evidence.bad_end > 0.02
    assert tango_interval(0.01 * needed, 0, needed)[1] <= 0.02 < tango_interval(0.01 * needed * 0.9, 0, 0.9 * needed)[1]


def test_an_estimate_on_the_limit_is_settled_by_no_number():
    labels = np.arange(100) % 2
    evidence = found("accuracy", labels, np.eye(2)[labels], np.eye(2)[labels])
    assert evidence.needed(0.0) is None


def test_a_least_value():
    labels = np.arange(100) % 2
    outputs = np.eye(2)[labels]
    outputs[:5] = outputs[:5, ::-1]
    evidence = evidence_of_metric(evaluate(load_metric("accuracy"), labels, outputs), 100)
    needed = evidence.needed(0.93)
    assert evidence.bad_end < 0.93 and needed > 100
    assert share_interval(0.95 * needed, needed)[0] >= 0.93 > share_interval(0.95 * 0.95 * needed, 0.95 * needed)[0]


def test_of_errors_the_doubt_goes_with_the_square_root_of_the_samples():
    theirs = np.random.default_rng(0).exponential(1, 100)
    ours = theirs + np.random.default_rng(1).normal(0.0, 0.2, 100)
    evidence = found("mae", np.zeros(100), np.abs(ours), theirs)
    limit = evidence.value + (evidence.bad_end - evidence.value) / 3
    assert evidence.needed(limit) == pytest.approx(900, abs=1)


def test_so_it_does_of_the_least_value_of_a_metric_that_is_no_share():
    labels = np.repeat([0, 1], 50)
    score = evaluate(load_metric("auc"), labels, labels + np.random.default_rng(0).normal(0, 0.5, 100))
    evidence = evidence_of_metric(score, 100)
    limit = evidence.value - (evidence.value - evidence.bad_end) / 3
    assert evidence.bad_end == score.ci95[0] < limit
    assert evidence.needed(limit) == pytest.approx(900, abs=1)
