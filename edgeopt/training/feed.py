"""Training data of every kind as batches for `fit`: bound to the inputs by name, shuffled anew each epoch by seed.

Arrays and PyDatasets come in an order that depends on the seed and the epoch's number alone, so that a run that was
interrupted sees what an unbroken one would have seen. A ``tf.data.Dataset`` comes in its own order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.dataset import Dataset, load_dataset
from ..data.labels import map_labels
from ..data.streams import is_batched, is_endless
from ..errors import DataError, UsageError
from ..models.load import describe
from ..models.spec import InputSpec

Array = npt.NDArray[Any]
# Batches of epoch number n.
Epoch = Callable[[int], Iterator[tuple[Any, ...]]]


@dataclass(frozen=True)
class Feed:
    """Batches for `fit`.

    Attributes:
        steps: Batches an epoch; None where only the end of the data tells.
        make: Called with the first epoch's number and the one after the last; returns a ``tf.data.Dataset`` of the
            batches of all of them, or of one epoch, to be repeated, where `continuous` is False.
        continuous: Whether one dataset holds all epochs.
        first: One batch, for checks.
    """

    steps: int | None
    make: Callable[[int, int], Any]
    continuous: bool
    first: Callable[[], tuple[Any, ...]]


def steps_of(source: Any, batch_size: int, steps_per_epoch: int | None) -> int | None:
    """Return the steps that an epoch on `source` takes, or None where only its end tells."""
    if steps_per_epoch is not None:
        return steps_per_epoch
    if is_tf_data(source):
        count = int(_batched(source, batch_size).cardinality())
        return count if count > 0 else None
    if is_py_dataset(source):
        return len(source)
    return math.ceil(load_dataset(source).count / batch_size)


def open_feed(
    source: Any,
    model: Any,
    *,
    batch_size: int,
    steps: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    what: str = "training",
) -> Feed:
    """Return the batches of `source` as `model` takes them.

    Args:
        source: What `edgeopt.data.load_dataset` takes, a ``tf.data.Dataset`` or a PyDataset (tf_keras: Sequence).
        model: A Keras model of either flavour.
        batch_size: Samples a batch, where the source does not batch.
        steps: Batches an epoch; None takes all.
        seed: Of the order.
        shuffle: Whether there is another order each epoch.
        what: What messages call the data.

    Raises:
        DataError: Data that do not fit the model's inputs, or have no labels.
    """
    inputs = describe(model).spec.inputs
    fixed = {item.shape[0] for item in inputs if item.shape and item.shape[0] is not None}
    if fixed and fixed != {batch_size}:
        raise UsageError(
            f"The model has a fixed batch size of {min(fixed)}, and training was asked for with {batch_size}; "
            "give that batch_size, or build the model with an open one."
        )
    if is_tf_data(source):
        return _tf_data_feed(_batched(source, batch_size), inputs, steps, what)
    if is_py_dataset(source):
        return _py_dataset_feed(source, inputs, steps, seed if shuffle else None, what)
    return _array_feed(source, inputs, batch_size, steps, seed if shuffle else None, what, drop=bool(fixed))


def is_py_dataset(source: Any) -> bool:
    """Whether `source` is a `keras.utils.PyDataset` or a `tf_keras.utils.Sequence`, by what such a thing can do."""
    plain = (str, bytes, list, tuple, Mapping, np.ndarray, Dataset)
    return hasattr(source, "__len__") and hasattr(source, "__getitem__") and not isinstance(source, plain)


def is_tf_data(source: Any) -> bool:
    """Whether `source` is a ``tf.data.Dataset``, by what such a thing has."""
    return hasattr(source, "element_spec")


def lacks_labels(source: Any) -> bool:
    """Whether `source` says beforehand that it has no labels: a `Dataset` and a ``tf.data.Dataset`` do."""
    if isinstance(source, Dataset):
        return source.labels is None
    return is_tf_data(source) and not _has_labels(source.element_spec)


def _has_labels(element: Any) -> bool:
    return isinstance(element, tuple) and len(element) in (2, 3)


def _batched(source: Any, batch_size: int) -> Any:
    return source if is_batched(source) else source.batch(batch_size)


def _array_feed(
    source: Any,
    inputs: tuple[InputSpec, ...],
    batch_size: int,
    steps: int | None,
    seed: int | None,
    what: str,
    *,
    drop: bool,
) -> Feed:
    dataset = load_dataset(source)
    labels, weights = dataset.labels, dataset.weights
    if labels is None:
        raise DataError(f"The {what} data ({dataset.source}) have no labels; give x and y.")
    bound = dataset.bind([item.name for item in inputs], [item.shape for item in inputs])
    count = dataset.count
    if drop and count < batch_size:
        raise DataError(f"The {what} data hold {count} samples, fewer than the model's fixed batch of {batch_size}.")
    whole = count // batch_size if drop else math.ceil(count / batch_size)
    size = steps or whole

    def rows(indices: npt.NDArray[np.int64]) -> tuple[Any, ...]:
        x = {item.name: bound[item.name][indices].astype(item.dtype, copy=False) for item in inputs}
        teaching = [map_labels(lambda array: array[indices], item) for item in (labels, weights) if item is not None]
        return (x if len(inputs) > 1 else x[inputs[0].name], *teaching)

    def epoch(number: int) -> Iterator[tuple[Any, ...]]:
        for step in range(size):
            cycle, position = divmod(step, whole)
            if position == 0:
                order = _order(count, seed, number, cycle)
            yield rows(order[position * batch_size : (position + 1) * batch_size])

    return Feed(size, _stream(epoch), True, lambda: rows(np.arange(min(count, batch_size))))


def _order(count: int, seed: int | None, epoch: int, cycle: int) -> npt.NDArray[np.int64]:
    """The order of the samples or batches in one pass over them: as they are without a seed, else its own shuffle."""
    return np.arange(count) if seed is None else np.random.default_rng([seed, epoch, cycle]).permutation(count)


def _py_dataset_feed(
    source: Any, inputs: tuple[InputSpec, ...], steps: int | None, seed: int | None, what: str
) -> Feed:
    whole = len(source)
    if whole < 1:
        raise DataError(f"The {what} PyDataset has no batches; expected at least one.")
    size = steps or whole

    def fetch(index: int) -> tuple[Any, ...]:
        element = source[index]
        if not _has_labels(element):
            kind = type(element).__name__
            raise DataError(f"The {what} PyDataset gives a {kind}; expected a tuple (x, y) or (x, y, sample_weight).")
        x, *rest = (_map(np.asarray, part) for part in element)
        _check_shapes(x, inputs, what)
        return (_map_to_inputs(x, inputs), *rest)

    def epoch(number: int) -> Iterator[tuple[Any, ...]]:
        for step in range(size):
            cycle, position = divmod(step, whole)
            if position == 0:
                order = _order(whole, seed, number, cycle)
            yield fetch(int(order[position]))
        if hasattr(source, "on_epoch_end"):
            source.on_epoch_end()

    return Feed(size, _stream(epoch), True, lambda: fetch(0))


def _tf_data_feed(source: Any, inputs: tuple[InputSpec, ...], steps: int | None, what: str) -> Feed:
    specification = source.element_spec
    if not _has_labels(specification):
        raise DataError(f"The {what} tf.data.Dataset has no labels; expected elements (x, y) or (x, y, sample_weight).")
    _check_shapes(specification[0], inputs, what)
    count = int(source.cardinality())
    if count == 0:
        raise DataError(f"The {what} tf.data.Dataset is empty; expected at least one batch.")
    if is_endless(source) and not steps:
        remedy = "give steps_per_epoch" if what == "training" else "give a part of it, as take(n) does"
        raise DataError(f"The {what} tf.data.Dataset never ends; {remedy}.")
    dataset = source.repeat() if steps else source

    def first() -> tuple[Any, ...]:
        import tensorflow as tf

        for element in source.take(1):
            return tuple(tf.nest.map_structure(lambda tensor: tensor.numpy(), part) for part in element)
        raise DataError(f"The {what} tf.data.Dataset yields nothing; expected at least one batch.")

    return Feed(steps or (count if count > 0 else None), lambda _first, _end: dataset, False, first)


def _stream(epoch: Epoch) -> Callable[[int, int], Any]:
    """Return a function that makes one ``tf.data.Dataset`` of the epochs from `start` to `stop`."""

    def make(start: int, stop: int) -> Any:
        import tensorflow as tf

        sample = next(epoch(start))
        signature = tf.nest.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), tf.as_dtype(array.dtype)), sample
        )

        def batches() -> Iterator[tuple[Any, ...]]:
            for number in range(start, stop):
                yield from epoch(number)

        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2).with_options(options)

    return make


def _check_shapes(x: Any, inputs: tuple[InputSpec, ...], what: str) -> None:
    """Compare the shapes of a batch, or of its specification, with the model's inputs."""
    named = _map_to_inputs(x, inputs)
    named = named if isinstance(named, Mapping) else {inputs[0].name: named}
    for item in inputs:
        received, expected = tuple(named[item.name].shape), item.shape
        fits = len(received) == len(expected) and all(
            None in (ours, theirs) or ours == theirs for ours, theirs in zip(received[1:], expected[1:], strict=True)
        )
        if not fits:
            wanted = ", ".join("?" if size is None else str(size) for size in expected[1:])
            raise DataError(
                f"The {what} data give shape {received} for input {item.name!r}; expected (samples, {wanted}); "
                "reshape or resize the data."
            )


def _map_to_inputs(x: Any, inputs: tuple[InputSpec, ...]) -> Any:
    """Return one tensor, or a dict by input name."""
    names = [item.name for item in inputs]
    if isinstance(x, Mapping):
        missing = [name for name in names if name not in x]
        if missing:
            raise DataError(f"The data have no array for the model input {missing[0]!r}; got {', '.join(map(str, x))}.")
        return x[names[0]] if len(names) == 1 else {name: x[name] for name in names}
    parts = list(x) if isinstance(x, (list, tuple)) else [x]
    if len(parts) != len(names):
        raise DataError(f"The data have {len(parts)} input(s), the model {len(names)}: {', '.join(names)}.")
    return parts[0] if len(names) == 1 else dict(zip(names, parts, strict=True))


def _map(function: Callable[[Any], Any], structure: Any) -> Any:
    if isinstance(structure, Mapping):
        return {key: function(value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return tuple(function(value) for value in structure)
    return function(structure)
