"""How much a unit matters, by seven criteria; see docs/passes/channels.md for the formulas and their sources.

A unit spans several layers when channels are tied (residual sums, depthwise convolutions); its score is the mean of
what each of them says, after scores from weights were divided by their layer's mean, so that none outvotes the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...data.dataset import Dataset
from ...data.labels import map_labels
from ...errors import DataError, UsageError
from ...models.graph.structure import Ref, flatten_structure, map_structure
from ...models.load import describe, import_keras
from ...training.losses import compiled_loss, losses_by_output
from .dependencies import ChannelMap
from .gates import observe, run_gated
from .labels import Labels
from .layer_rules import weight_names

Scores = npt.NDArray[np.float64]

_BATCH = 32
_BINS = 32


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at.

    Attributes:
        channel_map: The model's channels.
        data: Samples, for criteria in `NEEDS_DATA`.
        loss: ``(labels, outputs) -> loss``, for ``taylor``.
        seed: For ``random``.
    """

    channel_map: ChannelMap
    data: Dataset | None = None
    loss: Callable[[Any, Any], Any] | None = None
    seed: int = 0


class _Mean:
    """Mean of the scores that a unit was given; NaN for a unit that was given none."""

    def __init__(self, channel_map: ChannelMap) -> None:
        self.sums = np.zeros(channel_map.unit_count)
        self.counts = np.zeros(channel_map.unit_count)

    def add(self, units: Labels, scores: npt.ArrayLike, weight: float = 1.0) -> None:
        np.add.at(self.sums, units, np.asarray(scores, dtype=np.float64) * weight)
        np.add.at(self.counts, units, weight)

    def result(self) -> Scores:
        return np.divide(self.sums, self.counts, out=np.full_like(self.sums, np.nan), where=self.counts > 0)


def _norms(evidence: Evidence, norm: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Scores:
    channel_map, mean = evidence.channel_map, _Mean(evidence.channel_map)
    for cut in channel_map.cuts:
        if cut.filters is None:
            continue
        name, axis = cut.filters
        kernel = np.asarray(cut.layer.weights[weight_names(cut.layer).index(name)].numpy(), dtype=np.float64)
        scores = norm(np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1))
        average = float(np.mean(scores))
        mean.add(channel_map.units[cut.weights[name][axis]], scores / average if average > 0 else scores)
    return mean.result()


def l1(evidence: Evidence) -> Scores:
    """Sum of the absolute weights of a filter (Li et al., 2017)."""
    return _norms(evidence, lambda filters: np.abs(filters).sum(axis=1))


def l2(evidence: Evidence) -> Scores:
    """Euclidean norm of a filter."""
    return _norms(evidence, lambda filters: np.sqrt(np.square(filters).sum(axis=1)))


def bn_gamma(evidence: Evidence) -> Scores:
    """Absolute scale of the BatchNormalization behind a filter (Liu et al., 2017)."""
    channel_map, mean = evidence.channel_map, _Mean(evidence.channel_map)
    for cut in channel_map.cuts:
        if type(cut.layer).__name__.endswith("BatchNormalization") and "gamma" in cut.weights:
            gamma = cut.layer.weights[weight_names(cut.layer).index("gamma")]
            mean.add(channel_map.units[cut.weights["gamma"][0]], np.abs(np.asarray(gamma.numpy())))
    return mean.result()


def taylor(evidence: Evidence) -> Scores:
    """Squared derivative of the loss by the unit's gate, averaged over batches (Molchanov et al., 2019)."""
    import tensorflow as tf

    channel_map, data = evidence.channel_map, _required(evidence)
    if data.labels is None or evidence.loss is None:
        raise DataError("Importance 'taylor' needs labels beside the training data, and got none; give (x, y).")
    gates = tf.Variable(tf.ones(channel_map.unit_count), trainable=True)
    total, count = np.zeros(channel_map.unit_count), 0
    for inputs, rows in _batches(channel_map, data):
        with tf.GradientTape() as tape:
            tensors = run_gated(channel_map, inputs, gates)
            outputs = map_structure(tensors.__getitem__, channel_map.graph.outputs)
            labels = map_labels(lambda array: tf.constant(array[rows]), data.labels)  # noqa: B023 (called at once)
            loss = tf.reduce_mean(evidence.loss(labels, outputs))
        gradient = tf.convert_to_tensor(tape.gradient(loss, gates)).numpy()
        if not np.isfinite(gradient).all():
            raise DataError(
                "Importance 'taylor' met a gradient that is not finite; check the data's scale and the loss."
            )
        total += np.square(gradient, dtype=np.float64)
        count += 1
    return np.asarray(total / count)


def apoz(evidence: Evidence) -> Scores:
    """1 - APoZ, the average percentage of zeros among a channel's activations (Hu et al., 2016)."""
    channel_map, data, mean = evidence.channel_map, _required(evidence), _Mean(evidence.channel_map)

    def count(units: Labels, value: Any) -> None:
        array = value.numpy()
        mean.add(units, np.mean(array != 0, axis=tuple(range(array.ndim - 1))), weight=len(array))

    for inputs, _ in _batches(channel_map, data):
        observe(channel_map, inputs, count)
    return mean.result()


def entropy(evidence: Evidence) -> Scores:
    """Entropy of a channel's mean activation over the samples, in 32 bins (Luo and Wu, 2017)."""
    channel_map, data, mean = evidence.channel_map, _required(evidence), _Mean(evidence.channel_map)
    pooled: dict[int, list[npt.NDArray[np.float64]]] = {}
    places: dict[int, Labels] = {}

    def collect(units: Labels, value: Any) -> None:
        array = np.asarray(value.numpy(), dtype=np.float64)
        place = next(order)
        places[place] = units
        pooled.setdefault(place, []).append(array.mean(axis=tuple(range(1, array.ndim - 1))))

    for inputs, _ in _batches(channel_map, data):
        order = iter(range(len(channel_map.gates)))
        observe(channel_map, inputs, collect)
    for place, parts in pooled.items():
        mean.add(places[place], _binned_entropy(np.concatenate(parts)))
    return mean.result()


def _binned_entropy(values: npt.NDArray[np.float64]) -> Scores:
    """Return -sum(p log p) of each column of `values`, shape (samples, channels), in bins between its extremes."""
    low, high = values.min(axis=0), values.max(axis=0)
    spread = np.where(high > low, high - low, 1.0)
    bins = np.minimum(((values - low) / spread * _BINS).astype(np.int64), _BINS - 1)
    shares = np.stack([(bins == index).mean(axis=0) for index in range(_BINS)])
    return np.asarray(-np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=0))


def random(evidence: Evidence) -> Scores:
    """A seeded uniform number: the baseline that a criterion has to beat."""
    return np.random.default_rng(evidence.seed).random(evidence.channel_map.unit_count)


CRITERIA: dict[str, Callable[[Evidence], Scores]] = {
    "apoz": apoz,
    "bn_gamma": bn_gamma,
    "entropy": entropy,
    "l1": l1,
    "l2": l2,
    "random": random,
    "taylor": taylor,
}
NEEDS_DATA = frozenset(("apoz", "entropy", "taylor"))


def loss_function(model: Any, channel_map: ChannelMap, loss: Any) -> Callable[[Any, Any], Any]:
    """Return the loss that was given, or the one that the model was compiled with, as a function.

    Of a model with several outputs it takes the labels of all and is the sum of their losses.

    Raises:
        UsageError: There is none.
    """
    chosen = compiled_loss(model) if loss is None else loss
    if chosen is None:
        raise UsageError(
            "Importance 'taylor' needs a loss and the model is not compiled; give loss=..., or compile it."
        )
    names = describe(model).spec.output_names
    if len(names) > 1:
        return _summed([_callable(part, channel_map) for part in losses_by_output(chosen, names)], names)
    return _callable(chosen, channel_map)


def _callable(loss: Any, channel_map: ChannelMap) -> Callable[[Any, Any], Any]:
    if isinstance(loss, str):
        return _of_equal_rank(import_keras(channel_map.graph.flavour).losses.get(loss))
    if not callable(loss):
        kind = type(loss).__name__
        raise UsageError(
            f"Received a loss of type {kind}; expected a Keras loss, its name, or (labels, outputs) -> loss."
        )
    function: Callable[[Any, Any], Any] = loss
    return function


def _of_equal_rank(loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Give labels of shape (n,) the axis that outputs of shape (n, 1) have: tf_keras would compare each with all."""

    def compared(labels: Any, outputs: Any) -> Any:
        single = len(labels.shape) == 1 and tuple(outputs.shape[1:]) == (1,)
        return loss(labels[:, None] if single else labels, outputs)

    return compared


def _summed(losses: Sequence[Callable[[Any, Any], Any]], names: Sequence[str]) -> Callable[[Any, Any], Any]:
    import tensorflow as tf

    def function(labels: Any, outputs: Any) -> Any:
        given = [labels[name] for name in names] if isinstance(labels, Mapping) else labels
        parts = zip(losses, given, flatten_structure(outputs), strict=True)
        return tf.add_n([tf.cast(tf.reduce_mean(loss(*pair)), tf.float32) for loss, *pair in parts])

    return function


def _required(evidence: Evidence) -> Dataset:
    if evidence.data is None:
        raise DataError("This importance criterion looks at activations and got no data; give some, or use 'l1'.")
    return evidence.data


def _batches(channel_map: ChannelMap, data: Dataset) -> Iterator[tuple[dict[Ref, Any], slice]]:
    """Yield the graph's inputs as TensorFlow tensors, `_BATCH` samples at a time, and which samples they are."""
    import tensorflow as tf

    names = channel_map.graph.input_names
    bound = data.bind(list(names.values()), [ref.shape for ref in names])
    size = next((ref.shape[0] for ref in flatten_structure(channel_map.graph.inputs) if ref.shape[0]), _BATCH)
    for start in range(0, data.count - data.count % size if data.count >= size else data.count, size):
        rows = slice(start, min(start + size, data.count))
        yield {ref: tf.constant(bound[name][rows], dtype=ref.dtype) for ref, name in names.items()}, rows
