"""The report: its fields, the clean samples, the verdict."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edgeopt.errors import BudgetError, DataError, InvalidRunError
from edgeopt.evaluation.budget import Budget
from edgeopt.evaluation.metrics import load_metric
from edgeopt.evaluation.report import Answers, ValidationReport, build_report

MEASURED = {
    "device": "this machine",
    "kernel_profile": {"runtime": "ai_edge_litert"},
    "latency_ms": {"p50": 1.0, "p95": 2.0},
    "conditions": {},
    "samples_ms": [1.0, 2.0],
}
LABELS = np.arange(10) % 2
RIGHT = np.eye(2)[LABELS]
HALF = np.eye(2)[np.where(np.arange(10) < 5, LABELS, 1 - LABELS)]  # the first five are right


def report(candidate: Any = HALF, baseline: Any = None, metric: str = "accuracy", **changes: Any) -> ValidationReport:
    fields: dict[str, Any] = {"budget": Budget(), **changes}
    answers = Answers(LABELS if metric == "accuracy" else RIGHT, candidate, baseline)
    return build_report(load_metric(metric), answers, MEASURED, {"size_bytes": 1000}, **fields)


def test_the_json_has_the_documented_fields() -> None:
    found = report(baseline=RIGHT).to_dict()
    assert found["verdict"] == "ok" and found["schema_version"] == 1
    assert (found["accuracy"], found["baseline_accuracy"], found["accuracy_drop"]) == (0.5, 1.0, 0.5)
    assert found["accuracy_drop_ci95"][0] < 0.5 < found["accuracy_drop_ci95"][1]
    assert (found["agreement"], found["samples"], found["calibration_overlap"]) == (0.5, 10, None)
    assert found["metric"]["name"] == "accuracy" and found["metric"]["higher_is_better"] is True
    assert found["latency_ms"]["p95"] == 2.0 and found["kernel_profile"]["runtime"] == "ai_edge_litert"
    assert {"conditions", "budget", "size_bytes", "warnings"} <= set(found)
    assert "samples_ms" not in found, "raw samples stay in the measurement"
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("conditions", "value", "source"),
    [
        ({}, 3000000, "planned"),
        ({"grown_bytes": None}, 3000000, "planned"),
        ({"grown_bytes": 1000000}, 3000000, "planned"),  # less than what a runtime itself may take
        ({"grown_bytes": 1100000}, 3000000, "planned"),  # beside the file of 1,900,000 bytes: it grew into free memory
        ({"grown_bytes": 5000000}, 6900000, "measured"),
        ({"grown_bytes": 5000000, "board": {"emulated": True}}, 3000000, "planned"),  # the emulator grew
    ],
)
def test_memory_is_what_the_process_took_where_that_is_more_than_the_plan(
    conditions: dict[str, Any], value: int, source: str
) -> None:
    measured = {**MEASURED, "conditions": conditions}
    facts = {"size_bytes": 1900000, "memory_bytes": 3000000}
    budget = Budget(max_memory_bytes=4000000)
    found = build_report(load_metric("accuracy"), Answers(LABELS, HALF), measured, facts, budget=budget)
    assert (found.budget[0].value, found.budget[0].source) == (value, source)
    kept = "met" if value <= 4000000 else "MISSED"
    assert str(found.budget[0]) == f"memory_bytes {value} ({source}) <= 4000000: {kept}"


def test_accuracy_keys_are_there_only_when_the_metric_is_accuracy() -> None:
    found = report(baseline=RIGHT, metric="mae").to_dict()
    assert not [key for key in found if key.startswith("accuracy") or key == "baseline_accuracy"]
    assert (found["metric"]["value"], found["baseline_metric"], found["drop"]) == (0.5, 0.0, 0.5)
    assert found["metric"]["higher_is_better"] is False and found["agreement"] is None


def test_without_a_baseline_there_is_no_drop() -> None:
    found = report().to_dict()
    assert "accuracy_drop" not in found and "baseline_accuracy" not in found and found["agreement"] is None


def test_samples_that_calibrated_the_file_are_counted_and_kept_out_of_the_verdict() -> None:
    seen = [True] * 5 + [False] * 5  # the five that it gets right
    found = report(seen=seen, budget=Budget(min_metric=0.5))
    overlap = found.to_dict()["calibration_overlap"]
    assert found.to_dict()["accuracy"] == 0.5
    assert (overlap["count"], overlap["clean"]["samples"], overlap["clean"]["accuracy"]) == (5, 5, 0.0)
    assert found.verdict == "missed", "0.5 on all samples, but 0.0 on the clean ones"
    assert found.warnings[:1] == (
        "5 of the 10 samples calibrated this file, which flatters it; the budget is judged on the other 5.",
    )


def test_the_drop_on_clean_samples_is_paired_too() -> None:
    overlap = report(baseline=RIGHT, seen=[True] * 5 + [False] * 5).to_dict()["calibration_overlap"]
    assert (overlap["clean"]["accuracy_drop"], overlap["clean"]["agreement"]) == (1.0, 0.0)


def test_a_budget_of_the_drop_is_judged_on_the_clean_samples() -> None:
    found = report(baseline=RIGHT, seen=[True] * 5 + [False] * 5, budget=Budget(max_drop=0.6))
    (line,) = found.budget
    assert found.scores.drop == 0.5, "of all ten, of which the file knows five"
    assert (line.value, line.samples, found.verdict) == (1.0, 5, "missed")
    (line,) = report(seen=[True] * 5 + [False] * 5, budget=Budget(min_metric=0.5)).budget
    assert (line.value, line.samples) == (0.0, 5)


def test_no_overlap_is_said_and_needs_no_second_score() -> None:
    found = report(seen=[False] * 10)
    assert found.to_dict()["calibration_overlap"] == {"count": 0, "clean": None}
    assert not any("calibrated" in warning for warning in found.warnings)


def test_nothing_but_calibration_samples_is_warned_of() -> None:
    found = report(seen=[True] * 10)
    assert found.to_dict()["calibration_overlap"] == {"count": 10, "clean": None}
    assert "score it on samples that it has not seen" in found.warnings[0]


def test_a_budget_that_is_kept_raises_nothing() -> None:
    kept = report(budget=Budget(min_metric=0.1, max_p95_ms=2, max_size_bytes=1000))
    kept.raise_for_budget()
    assert kept.verdict == "ok" and len(kept.to_dict()["budget"]) == 3


def test_what_ten_samples_cannot_prove_is_not_proven() -> None:
    found = report(baseline=HALF, budget=Budget(max_drop=0.1))
    (line,) = found.to_dict()["budget"]
    assert (found.verdict, line["verdict"], line["met"]) == ("not proven", "not proven", True)
    assert line["bad_end"] == pytest.approx(0.2775, abs=1e-4) and line["samples_needed"] == 35  # 0.9 z^2 / 0.1 = 34.6
    found.raise_for_budget()
    with pytest.raises(BudgetError, match="not proven to be kept: max_drop: drop 0 <= 0.1: not proven: 10 samples"):
        found.raise_for_budget(proven=True)
    back = ValidationReport.from_dict(json.loads(json.dumps(found.to_dict())))
    assert back.verdict == "not proven" and back.to_dict() == found.to_dict()


def test_a_latency_is_met_when_its_worst_part_is_and_not_measured_when_the_board_was_busy() -> None:
    def judged(**changes: Any) -> ValidationReport:
        measured = {**MEASURED, "latency_ms": {"p50": 1.0, "p95": 2.0, "p95_worst": 2.5}, **changes}
        return build_report(
            ACC, Answers(LABELS, HALF), measured, {"size_bytes": 1}, budget=Budget(max_p95_ms=changes.pop("limit", 2.2))
        )

    assert judged().verdict == "not proven"
    assert str(judged().budget[0]) == "p95_ms 2 <= 2.2: not proven: it reached 2.5 in a part of the runs"
    busy = judged(unmeasured=[{"reason": "busy", "detail": "before the run: x"}])
    assert busy.budget[0].verdict == "not measured" and busy.verdict == "not proven"
    with pytest.raises(InvalidRunError, match=r"does not count: busy \(before the run: x\)") as caught:
        busy.raise_for_invalid()
    assert caught.value.exit_code == 5
    judged().raise_for_invalid()


def test_every_missed_line_is_named() -> None:
    missed = report(baseline=RIGHT, budget=Budget(max_drop=0.4, max_p95_ms=1, max_size_bytes=2000))
    assert missed.to_dict()["verdict"] == "missed"
    with pytest.raises(
        BudgetError, match=r"max_drop is 0.4, measured 0.5; max_p95_ms is 1, measured 2; relax"
    ) as caught:
        missed.raise_for_budget()
    assert "max_size_bytes" not in str(caught.value) and caught.value.exit_code == 4


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match=r"labels have the shape \(10,\) for outputs of the shape \(9, 2\)"):
        report(candidate=HALF[:9])


def test_outputs_by_name_for_a_metric_of_several() -> None:
    def spread(y_true: object, y_pred: dict[str, np.ndarray]) -> float:
        return float(y_pred["a"].sum() - y_pred["b"].sum())

    answers = Answers(None, {"a": RIGHT, "b": HALF[:, :1]}, {"a": RIGHT, "b": RIGHT[:, :1]})
    found = build_report(
        load_metric(spread), answers, MEASURED, {"size_bytes": 1}, budget=Budget(), seen=[True] + [False] * 9
    )
    assert found.scores.samples == 10 and found.overlap is not None and found.overlap.clean is not None
    assert found.overlap.clean.samples == 9


def test_a_budget_on_the_latency_without_a_timing_is_an_error() -> None:
    answers = Answers(LABELS, HALF)
    with pytest.raises(ValueError, match="p95_ms was not measured"):
        build_report(ACC, answers, {"device": "x"}, {"size_bytes": 1}, budget=Budget(max_p95_ms=1))


ACC = load_metric("accuracy")


@pytest.mark.parametrize("changes", [{}, {"baseline": RIGHT}, {"baseline": RIGHT, "metric": "mae"}])
def test_a_report_comes_back_from_its_json(changes: dict[str, Any]) -> None:
    written = report(seen=[True] * 5 + [False] * 5, budget=Budget(max_p95_ms=1), warnings=["slow"], **changes).to_dict()
    back = ValidationReport.from_dict(json.loads(json.dumps(written)))
    assert back.to_dict() == written
    assert back.latency_ms == {"p50": 1.0, "p95": 2.0}
    with pytest.raises(BudgetError, match="max_p95_ms is 1, measured 2"):
        back.raise_for_budget()


def test_a_metric_of_the_user_s_own_comes_back_as_its_name_and_direction() -> None:
    def worst(y_true: np.ndarray, y_pred: np.ndarray) -> float:
        return float(np.abs(y_true - y_pred).max())

    worst.higher_is_better = False  # type: ignore[attr-defined]
    written = build_report(
        load_metric(worst), Answers(RIGHT, HALF, RIGHT), MEASURED, {"size_bytes": 1}, budget=Budget()
    ).to_dict()
    back = ValidationReport.from_dict(json.loads(json.dumps(written)))
    assert (back.scores.metric.name, back.scores.metric.higher_is_better) == ("worst", False)
    assert back.to_dict() == written


@pytest.mark.parametrize("metric", ["mae", "mse"])
def test_the_seed_decides_every_interval(metric: str) -> None:
    rng = np.random.default_rng(0)
    answers = Answers(np.zeros(50), *rng.lognormal(0, 1, (2, 50)))
    facts = {"size_bytes": 1}
    seen = [True] * 5 + [False] * 45
    runs = [
        build_report(load_metric(metric), answers, MEASURED, facts, budget=Budget(), seen=seen, seed=seed).to_dict()
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1]
    intervals = [(*run["metric"]["ci95"], *run["drop_ci95"], *run["calibration_overlap"]["clean"]["metric"]["ci95"])
                 for run in runs]  # fmt: skip
    assert all(pair[0] != pair[1] for pair in zip(intervals[0][1::2], intervals[2][1::2], strict=True))


def test_other_json_is_not_taken_for_a_report() -> None:
    with pytest.raises(DataError, match="schema version None; expected the report of a validation"):
        ValidationReport.from_dict({"metric": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("agreement"), "agreement is missing"),
        (lambda v: v.pop("budget"), "budget is missing"),
        (lambda v: v.update(samples=None), "samples is null"),
        (lambda v: v.update(calibration_overlap={"a": 1}), "clean is missing"),
        (lambda v: v.update(calibration_overlap=3), "calibration_overlap is 3"),
        (lambda v: v["metric"].update(ci95=[0]), r"metric.ci95 is a list, expected a list of 2"),
        (lambda v: v["metric"].update(name=[]), r"metric.name is a list"),
        (lambda v: v["metric"].update(value=10**400), r"metric.value is .*expected a finite number"),
        (lambda v: v.update(budget=[{"name": "max_drop"}]), r"budget\[0\] lacks"),
        (lambda v: v.update(warnings=3), "warnings is 3"),
        (lambda v: v.update(unmeasured=[{"reason": 1}]), "detail|reason"),
        (lambda v: v.update(latency_ms=[1]), r"latency_ms is a list"),
        (lambda v: v.update(fidelity={"odd": 1}), "fidelity has the unknown key 'odd'"),
        (lambda v: v.update(baseline_fidelity=3), "fidelity is 3"),
    ],
)
def test_a_report_of_another_form_is_no_report(change, message) -> None:
    values = json.loads(json.dumps(report(baseline=RIGHT, budget=Budget(max_drop=0.9)).to_dict()))
    change(values)
    with pytest.raises(DataError, match=f"not as `edgeopt validate --json` writes it: .*({message})"):
        ValidationReport.from_dict(values)


@pytest.mark.parametrize("values", [[], None, 3, "x", {}, {"schema_version": [1]}])
def test_what_is_no_table_is_no_report(values: Any) -> None:
    with pytest.raises(DataError, match="expected the report of a validation"):
        ValidationReport.from_dict(values)


def test_figures_that_are_as_large_as_can_be_are_printed() -> None:
    values = json.loads(json.dumps(report(baseline=RIGHT, budget=Budget(max_drop=0.9)).to_dict()))
    values["budget"][0].update(verdict="not proven", value=-1e308, bad_end=1e308, limit=1.5, samples=3)
    assert "not proven" in str(ValidationReport.from_dict(values).budget[0])
