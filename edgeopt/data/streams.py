"""Samples from things that yield them: generators, `representative_dataset` callables, ``tf.data.Dataset``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .labels import Labels, join_labels, map_labels, read_labels

Array = npt.NDArray[Any]


class Batch(NamedTuple):
    """One yielded element: arrays whose first axis counts samples; input names, labels and weights if there are any."""

    arrays: tuple[Array, ...]
    names: tuple[str, ...]
    labels: Labels | None
    weights: Labels | None


def read_stream(stream: Iterable[Any], limit: int | None, source: str) -> Batch:
    """Read batches until `limit` samples are there, and join them.

    Args:
        stream: Yields lists of arrays or dicts by input name, as ``representative_dataset`` does, or ``(x, y)`` or
            ``(x, y, sample_weight)``, as ``tf.data`` does for training; elements of an unbatched ``tf.data.Dataset``
            are single samples.
        limit: Stop after so many samples; None reads everything.
        source: What messages call the stream.

    Raises:
        DataError: No samples, elements of a kind that is not accepted, or elements that differ in names or shapes.
    """
    single = hasattr(stream, "element_spec") and not is_batched(stream)
    batches: list[Batch] = []
    count = 0
    for element in stream:
        batch = _batch(element, single, source)
        if batches:
            batch = _like(batch, batches[0], source)
        batches.append(batch)
        count += len(batch.arrays[0])
        if limit is not None and count >= limit:
            break
    if not batches:
        raise DataError(f"{source} yields zero samples; expected at least one.")
    arrays = tuple(np.concatenate(column)[:limit] for column in zip(*(batch.arrays for batch in batches), strict=True))
    labels, weights = ([getattr(batch, word) for batch in batches] for word in ("labels", "weights"))
    return Batch(arrays, batches[0].names, _joined(labels, limit, source), _joined(weights, limit, source))


def _joined(parts: list[Labels | None], limit: int | None, source: str) -> Labels | None:
    """Return what every batch has, joined; None where some have nothing."""
    given = [part for part in parts if part is not None]
    return map_labels(lambda array: array[:limit], join_labels(given, source)) if len(given) == len(parts) else None


def _batch(element: Any, single: bool, source: str) -> Batch:
    given: list[Any] = []
    if isinstance(element, tuple) and len(element) in (2, 3):
        if isinstance(element[0], str):  # (signature_key, {name: array}) of representative_dataset
            element = element[1]
        else:
            element, *given = element
    names: tuple[str, ...] = ()
    if isinstance(element, Mapping):
        names, values = tuple(map(str, element)), list(element.values())
    elif isinstance(element, (list, tuple)):
        values = list(element)
    elif hasattr(element, "__array__"):
        values = [element]
    else:
        raise DataError(
            f"{source} yields {type(element).__name__}; expected a list of arrays, as representative_dataset yields."
        )
    arrays = [np.asarray(value)[np.newaxis] if single else np.asarray(value) for value in values]
    if not arrays or any(array.ndim == 0 for array in arrays):
        raise DataError(f"{source} yields scalars or nothing; expected arrays whose first axis counts samples.")
    labels, weights = (_labels(item, None if single else len(arrays[0]), source) for item in (*given, None, None)[:2])
    return Batch(tuple(arrays), names, labels, weights)


def _labels(given: Any, count: int | None, source: str) -> Labels | None:
    """Return the labels or weights of one element; `count` is None for a single sample."""
    if count is None and isinstance(given, (list, tuple)) and given and all(hasattr(item, "shape") for item in given):
        return tuple(np.asarray(item)[np.newaxis] for item in given)  # of several outputs, even when they are scalars
    labels = read_labels(given, count, source)
    if labels is None:
        return None
    return map_labels(lambda array: array[np.newaxis] if count is None else np.atleast_1d(array), labels)


def _like(batch: Batch, first: Batch, source: str) -> Batch:
    """Put the arrays of a dict into the first one's order; refuse other names and shapes."""
    if set(batch.names) != set(first.names):
        raise DataError(f"{source} yields the names {first.names} and then {batch.names}; expected the same each time.")
    if batch.names:
        arrays = tuple(batch.arrays[batch.names.index(name)] for name in first.names)
        batch = batch._replace(arrays=arrays, names=first.names)
    shapes, expected = [array.shape[1:] for array in batch.arrays], [array.shape[1:] for array in first.arrays]
    if shapes != expected:
        raise DataError(f"{source} yields samples of shapes {expected} and then {shapes}; expected the same each time.")
    return batch


def is_endless(stream: Any) -> bool:
    """Whether a ``tf.data.Dataset`` says that it never ends (`tf.data.INFINITE_CARDINALITY`), as repeat() makes it."""
    return hasattr(stream, "cardinality") and int(stream.cardinality()) == -1


def is_batched(stream: Any) -> bool:
    """Whether the elements of a ``tf.data.Dataset`` are batches: decided by the last `batch` or `unbatch` in its chain.

    Without either, an open first axis means a batch, because samples of a model have static shapes.
    """
    kind = type(stream).__name__
    if "Unbatch" in kind:
        return False
    if "Batch" in kind or kind == "_TensorDataset":
        return True
    before = stream._inputs() if hasattr(stream, "_inputs") else []
    if before and not any(word in kind for word in ("FlatMap", "Interleave")):
        return all(is_batched(item) for item in before)
    import tensorflow as tf

    specs = tf.nest.flatten(stream.element_spec)
    return bool(specs) and all(spec.shape.rank and spec.shape[0] is None for spec in specs)
