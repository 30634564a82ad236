"""Metrics against values worked out by hand, or by scikit-learn's definition."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgeopt.errors import DataError, UsageError
from edgeopt.evaluation.metrics import check_output, load_metric, predicted_classes
from edgeopt.evaluation.scoring import evaluate

SCORES = np.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.4, 0.5, 0.1]])
CLASSES = np.array([0, 1, 2, 0])  # the last one is wrong


def value(metric: str, labels: np.ndarray, outputs: np.ndarray) -> float:
    return evaluate(load_metric(metric), labels, outputs).value


@pytest.mark.parametrize(
    "labels",
    [CLASSES, CLASSES.astype(np.uint8), CLASSES.astype(np.float32), CLASSES[:, None], np.eye(3)[CLASSES]],
    ids=["integers", "bytes", "whole floats", "column", "one-hot"],
)
def test_accuracy_takes_labels_in_every_usual_form(labels: np.ndarray) -> None:
    assert value("accuracy", labels, SCORES) == 0.75


def test_accuracy_of_a_single_score_meets_at_one_half() -> None:
    scores = np.array([[0.9], [0.5], [0.2], [0.6]])
    assert value("accuracy", np.array([1, 0, 0, 0]), scores) == 0.75
    assert value("accuracy", np.array([True, False, False, False]), scores[:, 0]) == 0.75


def test_accuracy_of_every_pixel() -> None:
    scores = np.zeros((2, 2, 2, 3))
    scores[..., 1] = 1
    labels = np.array([[[1, 1], [1, 0]], [[1, 1], [1, 1]]])
    assert value("accuracy", labels, scores) == 0.875


def test_axes_of_size_one_before_the_classes_do_not_matter() -> None:
    assert value("accuracy", CLASSES, SCORES.reshape(4, 1, 1, 3)) == 0.75


def test_top5_counts_the_five_best() -> None:
    scores = np.tile(np.arange(10.0), (2, 1))
    assert value("top5", np.array([5, 4]), scores) == 0.5
    assert value("accuracy", np.array([5, 4]), scores) == 0.0


def test_errors_are_means_over_all_elements() -> None:
    labels, output = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 4.0]])
    assert value("mae", labels, output) == 1.0
    assert value("mse", labels, output) == 2.5
    assert value("mae", np.array([1.0, 2.0]), np.array([[1.0], [3.0]])) == 0.5


def test_auc_against_counting_pairs() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 60), rng.integers(0, 8, 60) / 8  # with many ties
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels == 1] for n in scores[labels == 0]]
    expected = float(np.mean(pairs))
    assert value("auc", labels, scores) == pytest.approx(expected, abs=1e-12)
    assert value("auc", labels, scores[:, None]) == pytest.approx(expected, abs=1e-12)
    assert value("auc", labels, np.stack([1 - scores, scores], axis=1)) == pytest.approx(expected, abs=1e-12)
    assert value("auc", 1 - labels, scores) == pytest.approx(1 - expected, abs=1e-12)


def test_auc_of_several_classes_is_the_mean_of_each_against_the_rest() -> None:
    expected = np.mean([value("auc", number == CLASSES, SCORES[:, number]) for number in range(3)])
    assert value("auc", CLASSES, SCORES) == pytest.approx(expected)


def test_auc_of_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="one class only"):
        value("auc", np.zeros(4, int), SCORES[:, 0])


@pytest.mark.parametrize(
    ("metric", "labels", "message"),
    [
        ("accuracy", np.array([0, 1, 2]), r"shape \(3,\) for outputs of the shape \(4, 3\); expected \(4,\)"),
        ("accuracy", np.eye(4)[CLASSES], r"shape \(4, 4\) for outputs of the shape \(4, 3\)"),
        ("accuracy", np.array([0, 1, 2, 3]), r"lie in \[0, 3\], but the outputs have 3 classes"),
        ("accuracy", np.array([1, 2, 3, -1]), r"lie in \[-1, 3\]"),
        ("accuracy", np.array([0, 1, 2, 0.5]), r"expected whole numbers from 0 to 2"),
        ("accuracy", np.array(["a", "b", "c", "d"]), "of type <U1; expected class numbers"),
        ("mae", np.zeros((4, 2)), r"shape \(4, 2\), but the output has \(4, 3\)"),
        ("mae", np.array([["a"] * 3] * 4), "of type <U1; expected numbers"),
    ],
)
def test_labels_that_do_not_fit_are_named(metric: str, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        value(metric, labels, SCORES)


def test_a_single_score_tells_two_classes_apart_and_not_three() -> None:
    with pytest.raises(DataError, match=r"lie in \[0, 2\], but the outputs have 2 classes; .* from 0 to 1"):
        value("accuracy", CLASSES, SCORES[:, :1])


@pytest.mark.parametrize("metric", ["accuracy", "top5", "auc", "mae", "mse"])
def test_missing_labels_are_named(metric: str) -> None:
    with pytest.raises(DataError, match=f"no labels, which the metric {metric} needs; add an array 'y'"):
        evaluate(load_metric(metric), None, SCORES)


def test_keras_own_short_name_is_understood_and_a_wrong_one_ends_with_one_stop() -> None:
    assert load_metric("acc") is load_metric("accuracy")
    with pytest.raises(UsageError, match=r"^Unknown metric 'acuracy'; did you mean 'accuracy'\?$"):
        load_metric("acuracy")
    with pytest.raises(UsageError, match=r"^Unknown metric 'f1'; expected one of accuracy, .*, top5\.$"):
        load_metric("f1")


def test_the_output_that_is_scored_is_named_and_there() -> None:
    accuracy = load_metric("accuracy")
    check_output(accuracy, None, ["kind"])
    check_output(accuracy, "kind", ["kind", "size"])
    check_output(load_metric(lambda y_true, y_pred: 0.0), None, ["kind", "size"])  # the user's own takes both
    with pytest.raises(UsageError, match=r"^The model has no output 'kid'; did you mean 'kind'\?$"):
        check_output(accuracy, "kid", ["kind", "size"])
    with pytest.raises(UsageError, match="has the outputs kind, size, and .*output_name = '...' in a recipe"):
        check_output(accuracy, None, ["kind", "size"])


def test_several_outputs_need_a_name_for_a_built_in_metric() -> None:
    with pytest.raises(
        UsageError, match="the outputs boxes, scores, and a built-in metric scores one; name it with --output"
    ):
        evaluate(load_metric("accuracy"), CLASSES, {"boxes": SCORES, "scores": SCORES})


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "users_metrics.py").write_text(
        "def worst(y_true, y_pred):\n    return abs(y_true - y_pred).max()\nworst.higher_is_better = False\n"
        "def both(y_true, y_pred):\n    return (y_pred['a'] - y_pred['b']).sum()\n"
        "def breaks(y_true, y_pred):\n    raise KeyError('oops')\n"
        "def undefined(y_true, y_pred):\n    return float('nan')\n"
        "constant = 5\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "users_metrics", raising=False)
    return "users_metrics"


def test_a_user_s_own_function(user_module: str) -> None:
    metric = load_metric(f"{user_module}:worst")
    assert (metric.name, metric.higher_is_better) == ("users_metrics:worst", False)
    assert evaluate(metric, np.zeros(3), np.array([1.0, -4.0, 2.0])).value == 4.0


def test_a_user_s_own_function_may_take_several_outputs_and_no_labels(user_module: str) -> None:
    outputs = {"a": np.ones(3), "b": np.zeros(3)}
    assert evaluate(load_metric(f"{user_module}:both"), None, outputs).value == 3.0


def test_a_callable_is_taken_as_it_is() -> None:
    metric = load_metric(lambda y_true, y_pred: 1.5)
    assert metric.higher_is_better and evaluate(metric, None, np.zeros(2)).value == 1.5
    assert load_metric(np.vdot).name == "vdot"
    assert load_metric(partial(max, key=abs)).name == "custom", "it has no name"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("acuracy", "Unknown metric 'acuracy'; did you mean 'accuracy'"),
        (":f", "Unknown metric ':f'; expected one of"),
        ("users_metrics:", "Unknown metric 'users_metrics:'; expected one of"),
        ("nowhere:f", "Cannot import the metric 'nowhere:f'"),
        ("users_metrics:missing", "Cannot import the metric 'users_metrics:missing'"),
        ("users_metrics:constant", "is a int; expected callable"),
    ],
)
def test_metrics_that_are_none(user_module: str, spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_metric(spec)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("breaks", "failed with KeyError: 'oops'; expected callable"),
        ("undefined", "returned nan; expected a finite number"),
    ],
)
def test_a_function_that_fails_is_the_user_s_error(user_module: str, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(load_metric(f"{user_module}:{name}"), np.zeros(2), np.zeros(2))


def test_predicted_classes() -> None:
    np.testing.assert_array_equal(predicted_classes(SCORES), [0, 1, 2, 1])
    np.testing.assert_array_equal(predicted_classes(np.array([[0.5], [0.6]])), [0, 1])
    np.testing.assert_array_equal(predicted_classes(np.array([0.4, 0.6])), [0, 1])
    assert predicted_classes(np.zeros((2, 3, 3, 5))).shape == (2, 3, 3)


def test_a_function_that_fails_on_some_resamples_alone_is_not_an_error() -> None:
    def picky(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        if len(set(y_true)) < 4:
            raise ValueError("too few classes")
        return 2.0

    score = evaluate(load_metric(picky), np.arange(4), np.zeros(4))
    assert score.value == 2.0
    assert score.ci95[0] < 2 < score.ci95[1], "four samples say little"
