"""Metrics: how good outputs are, given the right answers.

All are computed on the real values that a file's outputs stand for. `scoring` puts intervals on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..devices.agent.arith import hits
from ..errors import DataError, UsageError, nearest
from ..process.user_code import import_user_object

Array = npt.NDArray[Any]
_SHORT = {"acc": "accuracy"}  # Keras's own short name
_ONE_CLASS = "The labels hold one class only; the metric auc expects samples of at least two."
Outputs = Array | Mapping[str, Array]


@dataclass(frozen=True)
class Metric:
    """A metric; exactly one of `per_sample` and `whole` is set.

    Attributes:
        name: "accuracy", "top5", "auc", "mae", "mse", or "module:callable".
        higher_is_better: Whether a larger value is better.
        per_sample: (labels, output) -> one value a sample, of which the metric is the mean.
        whole: (labels, outputs) -> the value, for metrics that are no mean.
        needs_labels: Whether it means anything without labels.
        of_classes: Whether the outputs are scores of classes, so that two models can agree on a sample's class.
    """

    name: str
    higher_is_better: bool
    per_sample: Callable[[Array, Array], Array] | None = None
    whole: Callable[[Any, Any], float] | None = None
    needs_labels: bool = True
    of_classes: bool = False


def load_metric(spec: str | Callable[[Any, Any], float]) -> Metric:
    """Return the metric that `spec` names, or wraps.

    Args:
        spec: One of the built-in names ("acc" is accuracy); ``module:callable``, or a callable, taking ``(y_true,
            y_pred)`` and returning a number. Both are arrays, or dicts of them by output name when the model has
            several outputs; the function's attribute `higher_is_better` (default True) gives the direction.

    Raises:
        UsageError: An unknown name, or a function that cannot be imported.

    Example:
        >>> load_metric("mae").higher_is_better
        False
    """
    if not isinstance(spec, str):
        return _custom(getattr(spec, "__name__", "custom"), spec)
    spec = _SHORT.get(spec, spec)
    if spec in BUILT_IN:
        return BUILT_IN[spec]
    module_name, colon, function_name = spec.partition(":")
    if not colon or not module_name or not function_name:
        raise UsageError(f"Unknown metric {spec!r}{nearest(spec, [*BUILT_IN, 'module:callable'])}")
    function = import_user_object(spec, "the metric")
    if not callable(function):
        raise UsageError(f"The metric {spec!r} is a {type(function).__name__}; expected callable(y_true, y_pred).")
    return _custom(spec, function)


def single_output(outputs: Outputs) -> Array:
    """Return the output that a built-in metric scores.

    Raises:
        UsageError: There are several.
    """
    if isinstance(outputs, Mapping):
        raise several_outputs(outputs)
    return outputs


def check_output(metric: Metric, output: str | None, names: Sequence[str], what: str = "model") -> None:
    """Raise unless it is clear which output is scored.

    Args:
        metric: Which one; the user's own may take all outputs.
        output: The output that was named.
        names: Those that there are.
        what: "model" or "file".

    Raises:
        UsageError: There is no output of that name, or none was named and there are several.
    """
    if output is not None and output not in names:
        raise UsageError(f"The {what} has no output {output!r}{nearest(output, names)}")
    if output is None and len(names) > 1 and metric.name in BUILT_IN:
        raise several_outputs(names)


def several_outputs(names: Iterable[str]) -> UsageError:
    """Return the error for a built-in metric on a model with several outputs."""
    listed = ", ".join(names)
    return UsageError(
        f"The model has the outputs {listed}, and a built-in metric scores one; name it with "
        "--output-name (output_name = '...' in a recipe or in Python)."
    )


def predicted_classes(output: Array) -> Array:
    """Return the class of each sample: the largest score; of a single score, whether it is above 0.5.

    Example:
        >>> predicted_classes(np.array([[0.1, 0.9], [0.6, 0.4]]))
        array([1, 0])
    """
    scores = class_scores(output)
    if scores.ndim == 1 or scores.shape[-1] == 1:
        return (scores > 0.5).astype(np.int64).reshape(scores.shape[: max(1, scores.ndim - 1)])
    return np.asarray(np.argmax(scores, axis=-1))


def class_scores(output: Array) -> Array:
    """Return scores without axes of size 1 between the samples and the classes: (n, 1, 1, c) -> (n, c)."""
    if output.ndim > 2 and all(size == 1 for size in output.shape[1:-1]):
        return output.reshape(len(output), output.shape[-1])
    return output


def class_labels(labels: Array, scores: Array) -> Array:
    """Return labels as class numbers, int64, of the shape of `scores` without its last axis.

    Raises:
        DataError: They are neither class numbers nor one-hot rows that fit.
    """
    places, classes = (scores.shape[:-1], scores.shape[-1]) if scores.ndim > 1 else (scores.shape, 1)
    if classes > 1 and labels.shape == scores.shape:
        return np.asarray(np.argmax(labels, axis=-1))
    if math.prod(labels.shape) != math.prod(places) or len(labels) != places[0]:
        raise DataError(
            f"The labels have the shape {labels.shape} for outputs of the shape {scores.shape}; "
            f"expected {places} class numbers, or one-hot rows of the outputs' shape."
        )
    if not np.issubdtype(labels.dtype, np.number) and labels.dtype != np.bool_:
        raise DataError(f"The labels are of type {labels.dtype}; expected class numbers.")
    numbers = labels.reshape(places).astype(np.int64)
    largest = max(classes - 1, 1)
    if not np.array_equal(numbers, labels.reshape(places)) or numbers.min() < 0 or numbers.max() > largest:
        raise DataError(
            f"The labels lie in [{labels.min()}, {labels.max()}], but the outputs have {largest + 1} classes; "
            f"expected whole numbers from 0 to {largest}."
        )
    return numbers


def _hits(labels: Array, output: Array, *, k: int) -> Array:
    scores = class_scores(output)
    classes = class_labels(labels, scores)
    if scores.ndim <= 2:
        return np.asarray(hits(scores, classes, k))
    found = np.asarray(hits(scores.reshape(-1, scores.shape[-1]), classes.reshape(-1), k))
    return np.asarray(found.reshape(len(output), -1).mean(axis=1))


def _difference(labels: Array, output: Array) -> Array:
    if math.prod(labels.shape) != math.prod(output.shape) or len(labels) != len(output):
        raise DataError(
            f"The labels have the shape {labels.shape}, but the output has {output.shape}; expected the same."
        )
    if not np.issubdtype(labels.dtype, np.number):
        raise DataError(f"The labels are of type {labels.dtype}; expected numbers.")
    rows = (len(output), -1)
    return np.asarray(output.reshape(rows).astype(np.float64) - labels.reshape(rows))


def _absolute_error(labels: Array, output: Array) -> Array:
    return np.asarray(np.abs(_difference(labels, output)).mean(axis=1))


def _squared_error(labels: Array, output: Array) -> Array:
    return np.asarray(np.square(_difference(labels, output)).mean(axis=1))


def _auc(labels: Array, outputs: Outputs) -> float:
    """Return the area under the ROC curve; of several classes the mean of each against the rest."""
    return float(np.mean([_binary_auc(positive, scores) for positive, scores in auc_problems(labels, outputs)]))


def auc_problems(labels: Array, outputs: Outputs) -> list[tuple[Array, Array]]:
    """Return, for each class that is there and not alone, which samples are of it, and their scores for it.

    Raises:
        DataError: Labels that do not fit, or of one class only.
    """
    scores = class_scores(single_output(outputs))
    classes = class_labels(labels, scores)
    if scores.ndim > 2:
        raise DataError(
            f"The output has the shape {scores.shape}; the metric auc expects one score, or one a class, a sample."
        )
    if scores.ndim == 1 or scores.shape[1] <= 2:
        found = [(classes.reshape(-1) == 1, scores if scores.ndim == 1 else scores[:, -1])]
    else:
        found = [(classes == number, scores[:, number]) for number in range(scores.shape[1])]
    kept = [(positive, each) for positive, each in found if 0 < positive.sum() < len(positive)]
    if not kept:
        raise DataError(_ONE_CLASS)
    return kept


def _binary_auc(positive: Array, scores: Array) -> float:
    """Return the share of (positive, negative) pairs in the right order, ties counting one half (Mann-Whitney)."""
    count = int(positive.sum())
    rest = len(positive) - count
    if not count or not rest:
        raise DataError(_ONE_CLASS)
    _, place, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[place.reshape(-1)]
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * rest))


def _custom(name: str, function: Callable[[Any, Any], float]) -> Metric:
    return Metric(name, bool(getattr(function, "higher_is_better", True)), whole=function, needs_labels=False)


BUILT_IN = {
    "accuracy": Metric("accuracy", True, per_sample=partial(_hits, k=1), of_classes=True),
    "top5": Metric("top5", True, per_sample=partial(_hits, k=5), of_classes=True),
    "auc": Metric("auc", True, whole=_auc, of_classes=True),
    "mae": Metric("mae", False, per_sample=_absolute_error),
    "mse": Metric("mse", False, per_sample=_squared_error),
}
