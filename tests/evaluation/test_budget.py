"""Budgets: which limits make sense, and when they are kept."""

from __future__ import annotations

import pytest

from edgeopt.errors import BudgetError, UsageError
from edgeopt.evaluation.budget import (
    Budget,
    BudgetLine,
    Evidence,
    overall_verdict,
    raise_for_budget,
    unproven_warnings,
)

VALUES = {"drop": 0.01, "metric": 0.9, "p95_ms": 20.0, "size_bytes": 1000.0, "memory_bytes": 5000.0}


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
        (Budget(max_memory_bytes=5000), True),
        (Budget(max_memory_bytes=4999), False),
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
    found = lines[1].to_dict()
    assert {name: found[name] for name in ("name", "limit", "value", "met", "verdict")} == {
        "name": "max_size_bytes", "limit": 1, "value": 1000.0, "met": False, "verdict": "missed",
    }  # fmt: skip


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
    sentence = r"^The budget has max_drop, but there is nothing to drop from; give a model with --baseline\.$"
    with pytest.raises(UsageError, match=sentence):
        Budget(max_drop=0.01).require_measurable(has_baseline=False, higher_is_better=True, metric="accuracy")
    with pytest.raises(UsageError, match="min_metric, but of mae less is better"):
        Budget(min_metric=0.5).require_measurable(has_baseline=True, higher_is_better=False, metric="mae")
    both = Budget(max_drop=0.01, min_metric=0.5)
    both.require_measurable(has_baseline=True, higher_is_better=True, metric="accuracy")


def test_a_limit_on_what_was_not_measured_is_never_kept_silently() -> None:
    with pytest.raises(UsageError, match="has max_p95_ms, but p95_ms was not measured"):
        Budget(max_p95_ms=5).judge({"p95_ms": None})


def drop_line(value: float, bad_end: float, limit: float = 0.01, **changes: object) -> BudgetLine:
    evidence = Evidence(value, bad_end, 100, lambda _limit: 381)
    (line,) = Budget(max_drop=limit, **changes).judge({"drop": evidence})  # type: ignore[arg-type]
    return line


@pytest.mark.parametrize(
    ("value", "bad_end", "verdict", "met"),
    [(0.0, 0.01, "met", True), (0.0, 0.037, "not proven", True), (0.02, 0.03, "missed", False)],
)
def test_a_limit_is_met_when_the_interval_s_bad_end_keeps_it(
    value: float, bad_end: float, verdict: str, met: bool
) -> None:
    line = drop_line(value, bad_end)
    assert (line.verdict, line.met) == (verdict, met)
    assert overall_verdict([line]) == ("ok" if verdict == "met" else verdict)


def test_the_bad_end_of_a_least_value_is_the_lower_one() -> None:
    (line,) = Budget(min_metric=0.9).judge({"metric": Evidence(0.92, 0.88, 50, lambda _limit: 200)})
    assert line.verdict == "not proven"
    assert str(line) == "metric 0.92 >= 0.9: not proven: 50 samples still allow 0.880; about 200 would settle it"


def test_a_line_that_is_not_proven_says_what_the_samples_still_allow() -> None:
    line = drop_line(0.0, 0.036993)
    assert str(line) == "drop 0 <= 0.01: not proven: 100 samples still allow 0.037; about 381 would settle it"
    assert line.to_dict()["samples_needed"] == 381 and line.to_dict()["bad_end"] == 0.036993
    (warning,) = unproven_warnings([line])
    assert warning.startswith("The budget's max_drop is not proven: drop 0 <= 0.01")


def test_a_timing_that_does_not_count_neither_meets_nor_misses() -> None:
    for value in (1.0, 99.0):
        (line,) = Budget(max_p95_ms=20).judge({"p95_ms": Evidence(value, flaw="busy (before the run: x)")})
        assert (line.verdict, line.met) == ("not measured", None)
        assert str(line).endswith("not measured, for the timing does not count")
        assert unproven_warnings([line]) == [], "the report's warnings say why"
        raise_for_budget([line], "relax it")
        with pytest.raises(BudgetError, match=r"max_p95_ms: p95_ms .* does not count: busy \(before the run: x\)"):
            raise_for_budget([line], "relax it", proven=True)
        assert overall_verdict([line]) == "not proven"


def test_proof_is_asked_for_by_the_call_or_by_the_budget() -> None:
    line = drop_line(0.0, 0.037)
    raise_for_budget([line], "relax it")
    with pytest.raises(BudgetError, match="not proven to be kept: max_drop") as caught:
        raise_for_budget([line], "relax it", proven=True)
    assert caught.value.exit_code == 4
    with pytest.raises(BudgetError, match="not proven to be kept"):
        raise_for_budget([drop_line(0.0, 0.037, proven=True)], "relax it")
    with pytest.raises(BudgetError, match=r"kept: max_drop: drop [^;]*; [^;]* would settle it; max_drop: drop"):
        raise_for_budget([line, line], "relax it", proven=True)
    raise_for_budget([drop_line(0.0, 0.009, proven=True)], "relax it", proven=True)
    with pytest.raises(UsageError, match="proven is 1; expected true or false"):
        Budget(proven=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "limit"), [(2e-5, 0.0), (5.2e-7, 2.0e-8), (0.0100000001, 0.01)])
def test_what_is_missed_is_never_printed_as_the_limit(value: float, limit: float) -> None:
    """What was printed for the last one: "drop 0.01 <= 0.01: MISSED"; and beside the first: "drop +0.0000"."""
    line = drop_line(value, value, limit)
    shown, _, said = str(line).removeprefix("drop ").partition(" <= ")
    assert line.verdict == "missed" and shown != said.removesuffix(": MISSED")
    assert float(shown) > float(said.removesuffix(": MISSED"))


def test_a_line_of_a_report_of_before_has_its_verdict() -> None:
    assert BudgetLine("max_drop", 0.1, 0.2, False).verdict == "missed"
    assert BudgetLine("max_drop", 0.1, 0.05, True).verdict == "met"
