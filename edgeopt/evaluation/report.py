"""The result of a validation: accuracy, drop and latency of one file, with a verdict for each line of a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np

from ..artifact.envelope import SCHEMA_VERSION, envelope
from ..artifact.shown import Shown
from ..artifact.typed import Unfit, fitted, item
from ..errors import DataError, InvalidRunError
from .answers import right_of
from .budget import Budget, BudgetLine, Evidence, overall_verdict, raise_for_budget
from .classes import chance_warnings, class_record
from .fidelity import Fidelity, remedy_of, verdict_of
from .metrics import BUILT_IN, Array, Metric, Outputs
from .proof import evidence_of_drop, evidence_of_metric
from .scoring import Score, agreement, drop, evaluate

Interval = tuple[float, float]
_OF_A_RUNTIME = 1 << 20  # bytes that a process may grow by for a runtime alone: 0.2 MB have been seen
_FIDELITIES = ("fidelity", "baseline_fidelity")  # the first that is there tells whether the outputs are the model's


class _MetricFields(TypedDict):
    name: str
    value: float
    higher_is_better: bool
    ci95: Interval
    ci_method: str


class _Flaw(TypedDict):
    reason: str
    detail: str


class _Measured(TypedDict, total=False):
    """What the device records about a run; everything else in a report is about the file and the question."""

    latency_ms: Mapping[str, object] | None
    kernel_profile: Mapping[str, object]
    conditions: Mapping[str, object]
    device: str
    unmeasured: list[_Flaw]


@dataclass(frozen=True)
class Scores:
    """A file's metric on a set of samples, and, where there is a baseline, how the two compare on the same samples.

    Attributes:
        drop: Positive when the file is worse than the baseline.
        agreement: Share of samples to which both give the same class; None for metrics that are not of classes.
    """

    samples: int
    metric: Metric
    candidate: Score
    baseline: Score | None = None
    drop: float | None = None
    drop_ci95: tuple[float, float] | None = None
    agreement: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields; `accuracy*` are there only when the metric is accuracy."""
        name = self.metric.name
        fields: dict[str, Any] = {
            "samples": self.samples,
            "metric": {
                "name": name,
                "value": self.candidate.value,
                "higher_is_better": self.metric.higher_is_better,
                "ci95": list(self.candidate.ci95),
                "ci_method": self.candidate.ci_method,
            },
        }
        if name == "accuracy":
            fields["accuracy"], fields["accuracy_ci95"] = self.candidate.value, list(self.candidate.ci95)
        if self.baseline is not None and self.drop_ci95 is not None:
            prefix = "accuracy_" if name == "accuracy" else ""
            key = "baseline_accuracy" if prefix else "baseline_metric"
            fields[key], fields[f"{key}_ci95"] = self.baseline.value, list(self.baseline.ci95)
            fields[f"{prefix}drop"], fields[f"{prefix}drop_ci95"] = self.drop, list(self.drop_ci95)
        fields["agreement"] = self.agreement
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Scores:
        """Return the scores that `to_dict` wrote; a metric of the user's own comes back as its name and direction.

        Raises:
            Unfit: They are not of that form.
        """
        metric = item(_MetricFields, fields, "metric")
        known = BUILT_IN.get(metric["name"]) or Metric(metric["name"], metric["higher_is_better"])
        candidate = Score(metric["value"], metric["ci95"], metric["ci_method"])
        samples: int = item(int, fields, "samples")
        agreeing: float | None = item(float | None, fields, "agreement")
        prefix, key = ("accuracy_", "baseline_accuracy") if known.name == "accuracy" else ("", "baseline_metric")
        if key not in fields:
            return cls(samples, known, candidate, agreement=agreeing)
        baseline = Score(item(float, fields, key), item(Interval, fields, f"{key}_ci95"), candidate.ci_method)
        worse, interval = item(float, fields, f"{prefix}drop"), item(Interval, fields, f"{prefix}drop_ci95")
        return cls(samples, known, candidate, baseline, worse, interval, agreeing)


@dataclass(frozen=True)
class Overlap:
    """Samples that the file was calibrated on: their score flatters it.

    Attributes:
        count: How many of the samples they are.
        clean: The scores on the others; None when all are clean, or none is.
    """

    count: int
    clean: Scores | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return {"count": self.count, "clean": None if self.clean is None else self.clean.to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Overlap:
        """Return what `to_dict` wrote.

        Raises:
            Unfit: It is not of that form.
        """
        clean = item(Mapping[str, object] | None, fields, "clean")
        return cls(item(int, fields, "count"), None if clean is None else Scores.from_dict(clean))


@dataclass(frozen=True, repr=False)
class ValidationReport(Shown):
    """What `edgeopt.validate` found.

    Attributes:
        scores: On all samples.
        overlap: None when it is not known what the file was calibrated on.
        measurement: The device's own record: latency with its raw samples, kernel profile, conditions.
        budget: One line a limit. They are judged on the samples that the file was not calibrated on, if there are any.
        facts: Further fields of the report: the file, the device, the baseline.

    Example:
        >>> report = edgeopt.validate("model_int8.tflite", data="test.npz", budget=Budget(max_p95_ms=20))
        >>> report.raise_for_budget()
    """

    scores: Scores
    overlap: Overlap | None
    measurement: Mapping[str, Any] = field(repr=False)
    budget: tuple[BudgetLine, ...]
    facts: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The worst that is to be said.

        "missed" when a line of the budget was, "not proven" when one is not proven or not measured, "unfaithful" when
        the outputs are not the model's, else "ok".
        """
        return verdict_of(overall_verdict(self.budget), self.fidelity)

    def shown(self) -> Mapping[str, object]:
        """Return what a prompt or a notebook shows."""
        latency = self.latency_ms
        return {
            "verdict": self.verdict,
            self.scores.metric.name: self.score,
            "samples": self.scores.samples,
            "drop": self.drop,
            "p50_ms": None if latency is None else latency["p50"],
            "device": self.device,
            "budget": "; ".join(map(str, self.budget)) or None,
        }

    @property
    def score(self) -> float:
        """The metric's value on all samples; its interval is in ``scores.candidate``."""
        return self.scores.candidate.value

    @property
    def drop(self) -> float | None:
        """How much worse than the baseline; None without one."""
        return self.scores.drop

    @property
    def device(self) -> str | None:
        """Where it was measured."""
        found: str | None = self.measurement.get("device")
        return found

    @property
    def latency_ms(self) -> Mapping[str, Any] | None:
        """The latency figures, in milliseconds; None when no timing was asked for."""
        found: Mapping[str, Any] | None = self.measurement.get("latency_ms")
        return found

    def raise_for_budget(self, *, proven: bool = False) -> None:
        """Do nothing when the budget was kept.

        Args:
            proven: Also raise when it is not proven to be kept; so it is for a budget with ``proven=True``.

        Raises:
            BudgetError: A line was missed, or not proven; the message names each.
        """
        raise_for_budget(self.budget, remedy_of(self.fidelity, "relax the limit or improve the model"), proven=proven)

    @property
    def fidelity(self) -> Fidelity | None:
        """How near the outputs are to the model's: as the conversion found, or else to the baseline's; else None."""
        return _fidelity(self.facts)

    def raise_for_invalid(self) -> None:
        """Raise when the timing does not count: the board throttled, was busy, or is emulated.

        Raises:
            InvalidRunError: The reasons.
        """
        if flaw := _flaw(self.measurement):
            raise InvalidRunError(f"The timing on {self.measurement.get('device')} does not count: {flaw}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it, in the envelope that all verbs share; without raw latency samples."""
        measured = {name: value for name, value in self.measurement.items() if name != "samples_ms"}
        right = right_of(self.scores.candidate)
        return envelope(
            "validate",
            self.verdict,
            {
                **self.facts,
                **self.scores.to_dict(),
                **({} if right is None else {"right": right}),
                "calibration_overlap": None if self.overlap is None else self.overlap.to_dict(),
                **measured,
                "budget": [line.to_dict() for line in self.budget],
                "warnings": list(self.warnings),
            },
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ValidationReport:
        """Return the report that `to_dict` wrote; `measurement` then lacks the raw latency samples.

        Raises:
            DataError: The values are not a report of this schema version.

        Example:
            >>> ValidationReport.from_dict(json.loads(Path("report.json").read_text())).verdict
            'ok'
        """
        version = values.get("schema_version") if isinstance(values, Mapping) else None
        if version != SCHEMA_VERSION or "metric" not in values:
            raise DataError(
                f"Got values of schema version {version!r}; expected the report of a validation, schema version "
                f"{SCHEMA_VERSION}, as `edgeopt validate --json` writes it."
            )
        try:
            return cls._from_fields(values)
        except Unfit as error:
            raise DataError(
                f"The report is not as `edgeopt validate --json` writes it: {error}; write it anew."
            ) from error

    @classmethod
    def _from_fields(cls, values: Mapping[str, Any]) -> ValidationReport:
        overlap = item(Mapping[str, object] | None, values, "calibration_overlap")
        own = {"schema_version", "tool", "kind", "verdict", "calibration_overlap", "budget", "warnings"}
        scores = Scores.from_dict(values)
        rest = {name: value for name, value in values.items() if name not in own | set(scores.to_dict())}
        for held in map(rest.get, _FIDELITIES):
            if held is not None:
                Fidelity.from_dict(held)
        return cls(
            scores,
            None if overlap is None else Overlap.from_dict(overlap),
            fitted(_Measured, {name: rest.pop(name) for name in _Measured.__annotations__ if name in rest}, "report"),
            item(tuple[BudgetLine, ...], values, "budget"),
            rest,
            item(tuple[str, ...], values, "warnings"),
        )


@dataclass(frozen=True, eq=False)
class Answers:
    """What was right and what was said, sample by sample.

    Attributes:
        labels: Shape ``(n, ...)``, a dict by output name, or None where the metric needs none.
        candidate: Real values, ``(n, ...)``, or a dict of them by output name.
        baseline: What the baseline said of the same samples, in the same form; None without a baseline.
        class_names: Names of the classes, where they are known.
    """

    labels: Outputs | None
    candidate: Outputs
    baseline: Outputs | None = None
    class_names: Sequence[str] = ()

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(next(iter(self.candidate.values())) if isinstance(self.candidate, Mapping) else self.candidate)

    def rows(self, chosen: Array) -> Answers:
        """Return those of the samples numbered `chosen`."""
        return Answers(
            _rows(self.labels, chosen), _rows(self.candidate, chosen), _rows(self.baseline, chosen), self.class_names
        )


def compare(metric: Metric, answers: Answers, seed: int = 0) -> Scores:
    """Score a file's outputs and, where there are some, a baseline's for the same samples.

    Args:
        metric: Which one.
        answers: The labels and the outputs.
        seed: Seed of the bootstrap that gives the intervals, a whole number of at least 0.

    Raises:
        DataError: Labels that are missing or do not fit.
        UsageError: Several outputs for a metric of one, or a custom metric that fails.
    """
    labels, candidate, baseline = answers.labels, answers.candidate, answers.baseline
    ours = evaluate(metric, labels, candidate, seed)
    if baseline is None:
        return Scores(answers.count, metric, ours)
    theirs = evaluate(metric, labels, baseline, seed)
    worse, interval = drop(metric, labels, candidate, baseline, (ours, theirs), seed)
    return Scores(answers.count, metric, ours, theirs, worse, interval, agreement(metric, candidate, baseline))


def overlap_with_calibration(metric: Metric, answers: Answers, seen: Sequence[bool], seed: int = 0) -> Overlap:
    """Return how many samples the file has `seen` in its calibration, and, if it has any, the scores on the others."""
    clean = np.flatnonzero(~np.asarray(seen, bool))
    count = answers.count - len(clean)
    return Overlap(count, compare(metric, answers.rows(clean), seed) if count and len(clean) else None)


def build_report(
    metric: Metric,
    answers: Answers,
    measurement: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    budget: Budget,
    seen: Sequence[bool] | None = None,
    warnings: Sequence[str] = (),
    seed: int = 0,
) -> ValidationReport:
    """Score, compare and judge.

    Args:
        metric: The metric that is scored.
        answers: The labels and the outputs.
        measurement: The device's record, as `edgeopt.devices.Measurement.to_dict` gives it.
        facts: Further fields of the report; of "size_bytes" and "memory_bytes" those that the budget limits.
        budget: What is judged. The metric counts on the clean samples where some were seen in calibration.
        seen: For each sample, whether it calibrated the file; None when that is not known.
        warnings: What the reader should know.
        seed: Seed of the bootstrap that gives the intervals, a whole number of at least 0.

    Raises:
        DataError: Labels that are missing or do not fit.
        UsageError: Several outputs for a metric of one, or a custom metric that fails.
    """
    scores = compare(metric, answers, seed)
    overlap = None if seen is None else overlap_with_calibration(metric, answers, seen, seed)
    judged = overlap.clean if overlap is not None and overlap.clean is not None else scores
    found = {"metric": evidence_of_metric(judged.candidate, judged.samples), "drop": _drop_evidence(judged)}
    costs = {"p95_ms": _latency_evidence(measurement), "size_bytes": facts.get("size_bytes")}
    lines = budget.judge({**found, **costs, "memory_bytes": _memory_evidence(facts, measurement)})
    fidelity = _fidelity(facts)
    unlike = [] if fidelity is None else fidelity.warnings()
    notes = (*warnings, *unlike, *_overlap_warnings(overlap, scores.samples), *chance_warnings(scores, answers))
    return ValidationReport(
        scores, overlap, measurement, lines, {**facts, "classes": class_record(metric, answers)}, notes
    )


def _fidelity(facts: Mapping[str, Any]) -> Fidelity | None:
    """Return what the conversion found of the file, or else how it compares with the baseline."""
    found = next(filter(None, map(facts.get, _FIDELITIES)), None)
    return None if found is None else Fidelity.from_dict(found)


def _drop_evidence(scores: Scores) -> Evidence | None:
    if scores.baseline is None or scores.drop is None or scores.drop_ci95 is None:
        return None
    both, better = (scores.candidate, scores.baseline), scores.metric.higher_is_better
    return evidence_of_drop(both, scores.drop, scores.drop_ci95, scores.samples, better=better)


def _latency_evidence(measurement: Mapping[str, Any]) -> Evidence | None:
    latency = measurement.get("latency_ms") or {}
    if "p95" not in latency:
        return None
    return Evidence(latency["p95"], latency.get("p95_worst"), flaw=_flaw(measurement))


def _memory_evidence(facts: Mapping[str, Any], measurement: Mapping[str, Any]) -> Evidence | None:
    """Return what the interpreter needs: as planned, or, where that is more, the file and what the process grew by.

    It grows by less than it needs where memory that it had taken before is free; an emulator's growth is its own, and
    what is little is the runtime's.
    """
    planned = facts.get("memory_bytes")
    if planned is None:
        return None
    conditions = measurement.get("conditions") or {}
    emulated, grown = (conditions.get("board") or {}).get("emulated"), conditions.get("grown_bytes") or 0
    measured = 0 if emulated or grown < _OF_A_RUNTIME else facts["size_bytes"] + grown
    return Evidence(max(planned, measured), source="measured" if measured > planned else "planned")


def _flaw(measurement: Mapping[str, Any]) -> str:
    """Return why the device's timing does not count, in words; "" if it does."""
    return "; ".join(f"{item['reason']} ({item['detail']})" for item in measurement.get("unmeasured") or ())


def _overlap_warnings(overlap: Overlap | None, samples: int) -> tuple[str, ...]:
    if overlap is None or not overlap.count:
        return ()
    text = f"{overlap.count} of the {samples} samples calibrated this file, which flatters it"
    if overlap.clean is None:
        return (f"{text}; score it on samples that it has not seen.",)
    return (f"{text}; the budget is judged on the other {overlap.clean.samples}.",)


def _rows(arrays: Any, chosen: Array) -> Any:
    if isinstance(arrays, Mapping):
        return {name: array[chosen] for name, array in arrays.items()}
    return None if arrays is None else arrays[chosen]
