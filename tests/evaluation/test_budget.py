"""Budgets: which limits make sense, and when they are kept."""

from __future__ import annotations

import pytest

from edgeopt.errors import UsageError
from edgeopt.evaluation.budget import Budget

VALUES = {"drop": 0.01, "metric": 0.9, "p95_ms": 20.0, "size_bytes": 1000.0}


@pytest.mark.parametrize(
    ("budget", "met"),
    [
        (Budget(max_drop=0.01), True),
        (Budget(max_drop=0.0099), False),
        (Budget(min_metric=0.9), True),
        (Budget(min_metric=0.91), False),
        (Budget(max_p95_ms=20), True),
        (Budget(max_p95_ms=19.9), False),
        (Budget(max_size_bytes=1000), True),
        (Budget(max_size_bytes=999), False),
    ],
)
def test_a_limit_is_kept_when_it_is_just_reached(budget: Budget, met: bool) -> None:
    (line,) = budget.judge(VALUES)
    assert line.met is met
    assert ("MISSED" in str(line)) is not met


def test_a_drop_below_zero_keeps_any_limit() -> None:
    (line,) = Budget(max_drop=0.0).judge({**VALUES, "drop": -0.02})
    assert line.met and str(line) == "drop -0.02 <= 0: met"


def test_only_limits_that_are_set_are_judged() -> None:
    assert Budget().judge({}) == ()
    lines = Budget(max_drop=1, max_size_bytes=1).judge(VALUES)
    assert [line.name for line in lines] == ["max_drop", "max_size_bytes"]
    assert lines[1].to_dict() == {"name": "max_size_bytes", "limit": 1, "value": 1000.0, "met": False}


@pytest.mark.parametrize("values", [{}, {"max_drop": None}, {"max_drop": -0.01}])
def test_limits_that_make_sense(values: dict[str, float]) -> None:
    Budget(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_drop": float("nan")}, "max_drop is nan; expected a finite number"),
        ({"max_p95_ms": 0}, "max_p95_ms is 0; expected a number above 0"),
        ({"max_size_bytes": -5}, "max_size_bytes is -5"),
    ],
)
def test_limits_that_do_not(values: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Budget(**values)  # type: ignore[arg-type]


def test_limits_that_could_not_be_judged_are_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="max_drop, but there is nothing to drop from"):
        Budget(max_drop=0.01).require_measurable(has_baseline=False, higher_is_better=True, metric="accuracy")
    with pytest.raises(UsageError, match="min_metric, but of mae less is better"):
        Budget(min_metric=0.5).require_measurable(has_baseline=True, higher_is_better=False, metric="mae")
    both = Budget(max_drop=0.01, min_metric=0.5)
    both.require_measurable(has_baseline=True, higher_is_better=True, metric="accuracy")


def test_a_limit_on_what_was_not_measured_is_never_kept_silently() -> None:
    with pytest.raises(UsageError, match="has max_p95_ms, but p95_ms was not measured"):
        Budget(max_p95_ms=5).judge({"p95_ms": None})
