"""`edgeopt.evaluation.classes`: classes that are not the output's, and scores that guessing would reach."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import DataError
from edgeopt.evaluation.budget import Budget
from edgeopt.evaluation.classes import check_classes, class_record, fits_output, other_classes
from edgeopt.evaluation.metrics import load_metric
from edgeopt.evaluation.report import Answers, build_report


@pytest.mark.parametrize(
    ("count", "shape", "fits"),
    [
        (2, (1, 2), True),
        (2, (1, 10), False),
        (11, (1, 10), False),
        (2, (1, 1), True),
        (2, (1,), True),
        (3, (1, 1), False),
        (10, (1, 1, 1, 10), True),
        (2, (1, 1, 1, 10), False),
        (2, (1, 8, 8, 10), True),
        (2, (1, 8, 10), True),
        (2, (1, 1, 10), False),
        (2, (1, -1), True),
        (2, (1, None), True),
    ],
)
def test_a_class_a_score(count: int, shape: tuple[int | None, ...], fits: bool) -> None:
    assert fits_output(["name"] * count, shape) is fits


def test_classes_that_do_not_fit_are_named_and_counted() -> None:
    names = [f"c{number}" for number in range(7)]
    with pytest.raises(
        DataError, match=r"pets has 7 classes \(c0, c1, c2, c3, c4 and 2 more\), and the output 'kind' has 10; give"
    ):
        check_classes(names, (1, 10), "kind", "pets")
    check_classes((), (1, 10), "kind", "arrays")


def test_other_names_in_the_same_places_are_a_warning() -> None:
    assert other_classes(["cat", "dog"], ["cat", "dog"]) == other_classes([], ["a"]) == other_classes(["a"], []) == []
    (warning,) = other_classes(["dog", "puppy"], ["cat", "dog"])
    assert warning.startswith("classes: the data's classes are dog, puppy, those of the file's sidecar cat, dog;")


def warnings(
    labels: np.ndarray, candidate: np.ndarray, baseline: np.ndarray | None, metric: str = "accuracy"
) -> list[str]:
    report = build_report(
        load_metric(metric), Answers(labels, candidate, baseline), {}, {"size_bytes": 1}, budget=Budget()
    )
    return [warning for warning in report.warnings if warning.startswith("chance")]


LABELS = np.arange(100) % 2
RIGHT = np.eye(2)[LABELS]
ALWAYS = np.tile([1.0, 0.0], (100, 1))


def test_both_at_chance_level_are_pointed_out() -> None:
    file, baseline = warnings(LABELS, ALWAYS, ALWAYS)
    assert file.startswith("chance: accuracy 0.5000 of the file on 100 samples cannot be told from that of always")
    assert baseline.startswith("chance: accuracy 0.5000 of the baseline on 100 samples")
    assert "(0.5000); are the pictures, their scaling and the labels" in file


def test_only_what_guesses_is_pointed_out() -> None:
    assert warnings(LABELS, RIGHT, RIGHT) == []
    (only,) = warnings(LABELS, RIGHT, ALWAYS)
    assert "of the baseline" in only


def test_what_is_frequent_is_guessed() -> None:
    rare = (np.arange(100) < 10).astype(int)
    (only,) = warnings(rare, ALWAYS, np.eye(2)[rare])
    assert "accuracy 0.9000 of the file" in only and "(0.9000)" in only
    (one_hot,) = warnings(np.eye(2)[rare], ALWAYS, np.eye(2)[rare])
    assert one_hot == only


def test_of_one_class_and_of_other_metrics_nothing_is_said() -> None:
    assert warnings(np.zeros(50, int), np.tile([1.0, 0.0], (50, 1)), None) == []
    assert warnings(LABELS.astype(float), LABELS.astype(float)[:, None], None, "mae") == []


def test_a_ranking_that_is_none() -> None:
    scores = np.random.default_rng(0).uniform(size=(100, 1))
    (only,) = warnings(LABELS, scores, LABELS[:, None].astype(float), "auc")
    assert "auc" in only and "of the file" in only and "that of random scores (0.5000)" in only


def test_a_column_of_labels_is_not_one_hot() -> None:
    (only,) = warnings(LABELS[:, np.newaxis], np.zeros((100, 1)), None)
    assert "accuracy 0.5000 of the file" in only


def test_what_is_told_right_of_each_class_and_what_is_said_instead() -> None:
    labels, said = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 0, 0, 2])
    found = class_record(load_metric("accuracy"), Answers(labels, np.eye(4)[said], class_names=("a", "b", "c", "d")))
    assert found == {
        "names": ["a", "b", "c", "d"],
        "samples": [2, 3, 1, 0],
        "right": [1, 1, 1, 0],
        "confused": [[1, 0, 2], [0, 1, 1]],
    }


@pytest.mark.parametrize("shape", [(6, 1), (6,)])
def test_a_single_score_tells_two_classes_apart(shape: tuple[int, ...]) -> None:
    scores = np.array([0.1, 0.9, 0.2, 0.8, 0.9, 0.1]).reshape(shape)
    found = class_record(load_metric("accuracy"), Answers(np.array([0, 1, 1, 1, 0, 0]), scores))
    assert found is not None and (found["samples"], found["right"]) == ([3, 3], [2, 2])


def test_metrics_that_are_not_of_classes_and_outputs_with_places_have_no_classes() -> None:
    labels = np.zeros(4)
    assert class_record(load_metric("mae"), Answers(labels, labels)) is None
    places = Answers(np.zeros((4, 2), int), np.zeros((4, 2, 3)))
    assert class_record(load_metric("accuracy"), places) is None
