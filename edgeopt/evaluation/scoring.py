"""Scores with intervals: a metric on some samples, and the drop from a baseline to a candidate.

Intervals are 95 %: Wilson's for a share of right answers, a seeded bootstrap over the samples otherwise. A drop is
always paired, sample by sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..devices.agent.arith import percentile
from ..devices.agent.stats import wilson_interval
from ..errors import DataError, UsageError
from .metrics import Array, Metric, Outputs, predicted_classes, single_output

RESAMPLES = 2000
# A metric that is not a mean over samples is computed anew for every resample.
RESAMPLES_OF_WHOLE = 200
_FEW_VALUES = 64


@dataclass(frozen=True, eq=False)
class Score:
    """A metric's value on some samples.

    Attributes:
        ci95: 95 % interval.
        ci_method: "wilson" or "bootstrap".
        values: One value a sample where the metric is their mean, else None.
    """

    value: float
    ci95: tuple[float, float]
    ci_method: str
    values: Array | None = field(default=None, repr=False)


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

        def on(rows: Array) -> float:
            return _whole(metric, _rows(checked, rows), _rows(outputs, rows))

        return Score(value, _over_resamples(_count(outputs), seed, on, value), "bootstrap")
    values = metric.per_sample(_given(checked), single_output(outputs)).astype(np.float64)
    value = float(values.mean())
    if np.isin(values, (0.0, 1.0)).all():
        return Score(value, wilson_interval(int(values.sum()), len(values)), "wilson", values)
    return Score(value, _percentiles(bootstrap_means(values, seed)), "bootstrap", values)


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
    difference = sign * (theirs.value - ours.value)
    if ours.values is not None and theirs.values is not None:
        return difference, _percentiles(bootstrap_means(sign * (theirs.values - ours.values), seed))

    def on(rows: Array) -> float:
        values = [_whole(metric, _rows(labels, rows), _rows(outputs, rows)) for outputs in (baseline, candidate)]
        return sign * (values[0] - values[1])

    return difference, _over_resamples(_count(candidate), seed, on, difference)


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


def bootstrap_means(values: Array, seed: int) -> Array:
    """Return `RESAMPLES` means of samples drawn with replacement from `values`, float64 ``(n,)``."""
    rng = np.random.default_rng(seed)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= _FEW_VALUES:  # right or wrong: drawing how often each value comes is the same, and quick
        drawn = rng.multinomial(len(values), counts / len(values), size=RESAMPLES)
        return np.asarray(drawn @ distinct / len(values))
    return np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)])


def _percentiles(found: Array) -> tuple[float, float]:
    return percentile(found, 2.5), percentile(found, 97.5)


def _over_resamples(count: int, seed: int, compute: Callable[[Array], float], value: float) -> tuple[float, float]:
    """Return the interval of `compute(rows)` over resampled rows; one that the metric refuses is left out.

    A resample may, for one, hold a single class. When all are refused, the interval is the `value` itself.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES_OF_WHOLE):
        with suppress(DataError, UsageError):
            found.append(compute(rng.integers(0, count, count)))
    return _percentiles(np.array(found)) if found else (value, value)


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
