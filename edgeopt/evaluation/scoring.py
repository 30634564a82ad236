"""Scores with intervals: a metric on some samples, and the drop from a baseline to a candidate.

Intervals are 95 %: of shares of right answers Agresti and Coull's, and Tango's of their difference; of the area under
the ROC curve DeLong's and Newcombe's; of other metrics a studentised bootstrap. A drop is always paired, sample by
sample. None is ever of no width; ``benchmarks/intervals.py`` simulates how often each covers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..devices.agent.stats import student_quantile
from ..errors import DataError, UsageError
from .auc import area_interval, area_parts
from .bootstrap import mean_interval, whole_interval
from .metrics import Array, Metric, Outputs, predicted_classes, single_output
from .tango import share_interval, tango_interval

Interval = tuple[float, float]
AUC, STUDENTISED = "auc", "studentised"


@dataclass(frozen=True, eq=False)
class Score:
    """A metric's value on some samples.

    Attributes:
        ci95: 95 % interval.
        ci_method: "agresti-coull" for shares, "delong-newcombe" for the area under the ROC curve, else "studentised".
        values: One value a sample where the metric is their mean, else None.
        scale: How far one sample's value may lie from another's.
    """

    value: float
    ci95: tuple[float, float]
    ci_method: str
    values: Array | None = field(default=None, repr=False)
    scale: float = 1.0


def evaluate(metric: Metric, labels: Outputs | None, outputs: Outputs, seed: int = 0) -> Score:
    """Return the metric's value on all samples, with its interval.

    Args:
        metric: Which one.
        labels: Shape ``(n, ...)``; for a custom metric also a dict by output name, or None.
        outputs: The real values of the scored output, ``(n, ...)``; for a custom metric also a dict of outputs.
        seed: Seed of the bootstrap that gives the intervals, a whole number of at least 0.

    Raises:
        DataError: Labels that are missing or do not fit.
        UsageError: A custom metric that fails.
    """
    checked = require_labels(metric, labels)
    if metric.per_sample is None:
        value = _whole(metric, checked, outputs)
        if metric.name == AUC:
            parts = area_parts(_given(checked), outputs)
            return Score(value, area_interval(parts), "delong-newcombe", scale=parts.count / parts.rarest)
        scale = abs(value) or 1.0

        def on(rows: Array) -> float:
            return _whole(metric, _rows(checked, rows), _rows(outputs, rows))

        return Score(value, whole_interval(on, _count(outputs), value, scale, seed), STUDENTISED, scale=scale)
    values = metric.per_sample(_given(checked), single_output(outputs)).astype(np.float64)
    value = float(values.mean())
    if metric.of_classes and _are_answers(values):
        return Score(value, share_interval(int(values.sum()), len(values)), "agresti-coull", values)
    scale = 1.0 if metric.of_classes else _reach(values, _given(checked))
    low, high = mean_interval(values, scale, seed)
    return Score(value, (max(0.0, low), min(1.0, high) if metric.of_classes else high), STUDENTISED, values, scale)


def value(metric: Metric, labels: Outputs | None, outputs: Outputs) -> float:
    """Return the metric's value without an interval, which takes a part of the time; see `evaluate`."""
    checked = require_labels(metric, labels)
    if metric.per_sample is None:
        return _whole(metric, checked, outputs)
    return float(metric.per_sample(_given(checked), single_output(outputs)).astype(np.float64).mean())


def drop(
    metric: Metric,
    labels: Outputs | None,
    candidate: Outputs,
    baseline: Outputs,
    scores: tuple[Score, Score],
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """Return how much worse the candidate is than the baseline, and a 95 % interval, paired over the samples.

    Args:
        metric: Which one.
        labels: As in `evaluate`.
        candidate: Outputs of the candidate.
        baseline: Outputs of the baseline, for the same samples.
        scores: What `evaluate` gave for the two.
        seed: Seed of the bootstrap that gives the intervals, a whole number of at least 0.

    Returns:
        A positive number when the candidate is worse, whichever direction is better; and the interval.
    """
    sign = 1.0 if metric.higher_is_better else -1.0
    ours, theirs = scores
    difference = sign * (theirs.value - ours.value) + 0.0  # no "-0"
    scale = max(ours.scale, theirs.scale)
    if ours.values is not None and theirs.values is not None:
        worse = sign * (theirs.values - ours.values)
        if metric.of_classes and _are_answers(ours.values) and _are_answers(theirs.values):
            return difference, tango_interval(int((worse > 0).sum()), int((worse < 0).sum()), len(worse))
        return difference, mean_interval(worse, scale, seed)
    if metric.name == AUC:
        return difference, _area_drop(labels, candidate, baseline, seed)

    def on(rows: Array) -> float:
        values = [_whole(metric, _rows(labels, rows), _rows(outputs, rows)) for outputs in (baseline, candidate)]
        return sign * (values[0] - values[1])

    return difference, whole_interval(on, _count(candidate), difference, scale, seed)


def agreement(metric: Metric, candidate: Outputs, baseline: Outputs) -> float | None:
    """Return the share of samples to which both give the same class, or None when the metric is not one of classes.

    Example:
        >>> agreement(load_metric("accuracy"), np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.6, 0.4], [0.7, 0.3]]))
        0.5
    """
    if not metric.of_classes or isinstance(candidate, Mapping) or isinstance(baseline, Mapping):
        return None
    ours, theirs = predicted_classes(candidate), predicted_classes(baseline)
    return float((ours == theirs).mean()) if ours.shape == theirs.shape else None


def require_labels(metric: Metric, labels: Outputs | None, what: str = "data") -> Outputs | None:
    """Return the labels, or raise when the metric needs some.

    Args:
        metric: Which one.
        labels: What there is.
        what: What the message calls the data.

    Raises:
        DataError: There are none.
    """
    if labels is None and metric.needs_labels:
        raise DataError(
            f"The {what} hold no labels, which the metric {metric.name} needs; "
            "add an array 'y' with one label a sample."
        )
    return labels


def _area_drop(labels: Outputs | None, candidate: Outputs, baseline: Outputs, seed: int) -> Interval:
    """Return the interval of a drop of the area: as of any mean, and at least what the rarest class alone allows."""
    ours, theirs = (area_parts(_given(labels), outputs) for outputs in (candidate, baseline))
    worse = theirs.values - ours.values
    low, high = mean_interval(worse, ours.count / ours.rarest, seed)
    centre = float(worse.mean())
    widening = student_quantile(max(1, ours.rarest - 1)) / student_quantile(ours.count - 1)
    return centre - widening * (centre - low), centre + widening * (high - centre)


def _are_answers(values: Array) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _reach(errors: Array, labels: Array) -> float:
    """Return how far an unseen error may lie off: as errors are on average; without any, the labels' extent."""
    return float(errors.mean()) or float(np.ptp(labels)) or float(np.abs(labels).max()) or 1.0


def _whole(metric: Metric, labels: Outputs | None, outputs: Outputs) -> float:
    if metric.whole is None:
        raise RuntimeError(f"the metric {metric.name} is a mean over samples")
    try:
        value = float(metric.whole(labels, outputs))
    except (DataError, UsageError):
        raise
    except Exception as error:
        raise UsageError(
            f"The metric {metric.name} failed with {type(error).__name__}: {error}; "
            "expected callable(y_true, y_pred) -> number."
        ) from error
    if not math.isfinite(value):
        raise UsageError(f"The metric {metric.name} returned {value}; expected a finite number.")
    return value


def _rows(arrays: Any, chosen: Array) -> Any:
    if arrays is None:
        return None
    if isinstance(arrays, Mapping):
        return {name: array[chosen] for name, array in arrays.items()}
    return arrays[chosen]


def _count(outputs: Outputs) -> int:
    return len(next(iter(outputs.values()))) if isinstance(outputs, Mapping) else len(outputs)


def _given(labels: Outputs | None) -> Array:
    if labels is None or isinstance(labels, Mapping):
        raise RuntimeError("labels were not checked")
    return labels
