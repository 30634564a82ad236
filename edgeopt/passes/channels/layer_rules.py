"""Rules for the layers of both Keras flavours: how each carries channels from its inputs to its outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...models.graph.read import Step
from ...models.graph.structure import Ref, refs_in
from . import elementwise
from .labels import Labels, Reason
from .tracker import Channels, Setting, Tracker

LayerRule = Callable[[Tracker, Step, Ref], None]


def _weight(layer: Any, *names: str) -> str:
    """Return the name that this flavour gives a weight."""
    present = weight_names(layer)
    return next(name for name in names if name in present)


def weight_names(layer: Any) -> list[str]:
    """Return the names of a layer's weights, without the layer's own name, in the order of `layer.weights`."""
    return [str(weight.name).rsplit("/", maxsplit=1)[-1].split(":")[0] for weight in layer.weights]


def _kernel_size(layer: Any) -> int:
    return int(np.prod(layer.kernel_size))


def _bias(layer: Any, labels: Labels) -> dict[str, dict[int, Labels]]:
    return {"bias": {0: labels}} if layer.use_bias else {}


def _produce(tracker: Tracker, step: Step, labels: Labels) -> None:
    channels = Channels(-1, labels)
    elementwise.check_activation(tracker, step, channels)
    tracker.set(step, channels)


def _convolution(tracker: Tracker, step: Step, ref: Ref) -> None:
    layer, output = step.layer, step.outputs[0]
    made = tracker.own(step, "filters", layer.filters)
    groups, work = int(layer.groups), _kernel_size(layer)
    settings = [Setting("filters", made)]
    if groups == 1:
        taken = tracker.last_axis(ref, step)
        kernel = {-2: taken, -1: made}
        tracker.count(step, output, work, taken, made)
    else:
        # A group goes as a whole: its inputs with its filters.
        channels = tracker.tensors[ref]
        taken = channels.labels if channels is not None and channels.axis == -1 else tracker.last_axis(ref, step)
        width, each = len(taken) // groups, layer.filters // groups
        for group in range(groups):
            inputs, filters = taken[group * width : (group + 1) * width], made[group * each : (group + 1) * each]
            tracker.table.tie(np.full(width + each, inputs[0]), np.concatenate([inputs, filters]))
        kernel = {-1: made}
        settings.append(Setting("groups", made, each))
        tracker.count(step, output, work * width, made)
    tracker.cut(step, {"kernel": kernel, **_bias(layer, made)}, settings, ("kernel", -1))
    _produce(tracker, step, made)


def _transposed(tracker: Tracker, step: Step, ref: Ref) -> None:
    layer = step.layer
    made, taken = tracker.own(step, "filters", layer.filters), tracker.last_axis(ref, step)
    tracker.count(step, ref, _kernel_size(layer), taken, made)
    tracker.cut(
        step, {"kernel": {-2: made, -1: taken}, **_bias(layer, made)}, [Setting("filters", made)], ("kernel", -2)
    )
    _produce(tracker, step, made)


def _depthwise(tracker: Tracker, step: Step, ref: Ref) -> None:
    layer, channels = step.layer, tracker.tensors[ref]
    if channels is None or channels.axis != -1:
        tracker.block(step, Reason.AXES)
        return
    made = np.repeat(channels.labels, layer.depth_multiplier)
    kernel = _weight(layer, "depthwise_kernel", "kernel")
    tracker.count(step, step.outputs[0], _kernel_size(layer), made)
    tracker.cut(step, {kernel: {-2: channels.labels}, **_bias(layer, made)}, (), (kernel, -2))
    _produce(tracker, step, made)


def _separable(tracker: Tracker, step: Step, ref: Ref) -> None:
    layer = step.layer
    made, taken = tracker.own(step, "filters", layer.filters), tracker.last_axis(ref, step)
    between = np.repeat(taken, layer.depth_multiplier)
    tracker.count(step, step.outputs[0], _kernel_size(layer), between)
    tracker.count(step, step.outputs[0], 1, between, made)
    weights = {"depthwise_kernel": {-2: taken}, "pointwise_kernel": {-2: between, -1: made}, **_bias(layer, made)}
    tracker.cut(step, weights, [Setting("filters", made)], ("pointwise_kernel", -1))
    _produce(tracker, step, made)


def _dense(tracker: Tracker, step: Step, ref: Ref) -> None:
    layer = step.layer
    made, taken = tracker.own(step, "units", layer.units), tracker.last_axis(ref, step)
    tracker.count(step, step.outputs[0], 1, taken, made)
    tracker.cut(step, {"kernel": {-2: taken, -1: made}, **_bias(layer, made)}, [Setting("units", made)], ("kernel", -1))
    _produce(tracker, step, made)


def _axes(layer: Any, rank: int) -> list[int]:
    """Return the axes of a normalisation layer, counted from the end."""
    axes = layer.axis if isinstance(layer.axis, Sequence) else [layer.axis]
    return [int(axis) if axis < 0 else int(axis) - rank for axis in axes]


def _batch_normalization(tracker: Tracker, step: Step, ref: Ref) -> None:
    channels = tracker.tensors[ref]
    if channels is None or _axes(step.layer, len(ref.shape)) != [channels.axis]:
        tracker.block(step, Reason.AXES)
        return
    tracker.cut(step, {name: {0: channels.labels} for name in weight_names(step.layer)})
    elementwise.passing(tracker, step, ref)


def _across_channels(tracker: Tracker, step: Step, ref: Ref) -> None:
    """LayerNormalization and its kin: removing a channel changes the statistics of all others."""
    channels = tracker.tensors[ref]
    if channels is not None and channels.axis in _axes(step.layer, len(ref.shape)):
        tracker.freeze([ref], Reason.SOFTMAX if type(step.layer).__name__ == "Softmax" else Reason.NORMALISED, step)
    elementwise.passing(tracker, step, ref)


def _group_normalization(tracker: Tracker, step: Step, ref: Ref) -> None:
    layer, channels = step.layer, tracker.tensors[ref]
    if channels is None or [channels.axis] != _axes(layer, len(ref.shape)):
        tracker.block(step, Reason.AXES)
        return
    labels = channels.labels
    groups = len(labels) if layer.groups == -1 else int(layer.groups)
    width = len(labels) // groups
    # The statistics are those of a group, so a group goes as a whole.
    tracker.table.tie(np.repeat(labels[::width], width), labels)
    tracker.cut(step, {name: {0: labels} for name in weight_names(layer)}, [Setting("groups", labels, width)])
    elementwise.passing(tracker, step, ref)


def _prelu(tracker: Tracker, step: Step, ref: Ref) -> None:
    channels, alpha = tracker.tensors[ref], tuple(step.layer.weights[0].shape)
    if channels is not None and alpha[channels.axis] == len(channels.labels):
        tracker.cut(step, {"alpha": {channels.axis: channels.labels}})
    elementwise.passing(tracker, step, ref)


def _per_channel_constant(tracker: Tracker, step: Step, ref: Ref) -> None:
    """Rescaling and Normalization: one number for all is no matter, one a channel stays."""
    values = [getattr(step.layer, key, 0.0) for key in ("scale", "offset", "mean", "variance")]
    if any(np.size(value) > 1 for value in values if value is not None):
        tracker.freeze([ref], Reason.LAYER, step)
    elementwise.passing(tracker, step, ref)


def _activation(tracker: Tracker, step: Step, ref: Ref) -> None:
    elementwise.check_activation(tracker, step, tracker.tensors[ref])
    elementwise.passing(tracker, step, ref)


def _spatial(tracker: Tracker, step: Step, ref: Ref) -> None:
    """Pooling, padding, cropping, upsampling: the last axis is the one that is left alone."""
    channels = tracker.tensors[ref]
    if channels is not None and channels.axis != -1:
        tracker.block(step, Reason.AXES)
    else:
        elementwise.passing(tracker, step, ref)


def _global_pooling(tracker: Tracker, step: Step, ref: Ref) -> None:
    rank = len(ref.shape)
    elementwise.reduce_axes(tracker, step, ref, range(1, rank - 1), bool(step.layer.keepdims))


def _reshape(tracker: Tracker, step: Step, ref: Ref) -> None:
    found = elementwise.reshape(tracker, step, ref)
    if found is None or type(step.layer).__name__ != "Reshape":
        return
    target = step.layer.target_shape
    if target[found.axis] != -1:
        tracker.cut(step, {}, [Setting("target_shape", found.labels, 1, found.axis)])


def _permute(tracker: Tracker, step: Step, ref: Ref) -> None:
    elementwise.permute(tracker, step, ref, (0, *step.layer.dims))


def _merge(tracker: Tracker, step: Step, ref: Ref) -> None:
    elementwise.combine(tracker, step, refs_in(step.args), keras_merge=True)


def _concatenate(tracker: Tracker, step: Step, ref: Ref) -> None:
    elementwise.concatenate(tracker, step, refs_in(step.args), int(step.layer.axis))


def _ranks(prefix: str, suffix: str = "", upto: int = 3) -> list[str]:
    return [f"{prefix}{rank}D{suffix}" for rank in range(1, upto + 1)]


_NAMES: dict[LayerRule, Sequence[str]] = {
    _convolution: _ranks("Conv"),
    _transposed: _ranks("Conv", "Transpose"),
    _depthwise: _ranks("DepthwiseConv", upto=2),
    _separable: _ranks("SeparableConv", upto=2),
    _dense: ["Dense"],
    _batch_normalization: ["BatchNormalization", "SyncBatchNormalization"],
    _across_channels: ["LayerNormalization", "RMSNormalization", "UnitNormalization", "Softmax"],
    _group_normalization: ["GroupNormalization"],
    _prelu: ["PReLU"],
    _per_channel_constant: ["Normalization", "Rescaling"],
    _activation: ["Activation"],
    elementwise.passing: [
        "ActivityRegularization", "AlphaDropout", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "Identity",
        "LeakyReLU", "ReLU", "RepeatVector", "ThresholdedReLU",
    ],
    _spatial: [
        *_ranks("AveragePooling"), *_ranks("Cropping"), *_ranks("MaxPooling"), *_ranks("SpatialDropout"),
        *_ranks("UpSampling"), *_ranks("ZeroPadding"), "Resizing",
    ],
    _global_pooling: [*_ranks("GlobalAveragePooling"), *_ranks("GlobalMaxPooling")],
    _reshape: ["Flatten", "Reshape"],
    _permute: ["Permute"],
    _merge: ["Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"],
    _concatenate: ["Concatenate"],
}  # fmt: skip
RULES: dict[str, LayerRule] = {name: rule for rule, names in _NAMES.items() for name in names}

# Weights that a rule above knows how to cut; a layer with any other (quantised by Keras, LoRA) is left alone.
_KNOWN_WEIGHTS = frozenset(
    (
        "alpha", "beta", "bias", "count", "depthwise_kernel", "gamma", "kernel", "mean", "moving_mean",
        "moving_variance", "pointwise_kernel", "scale", "variance",
    )
)  # fmt: skip


def apply(tracker: Tracker, step: Step) -> None:
    """Write into the tracker what the layer of `step` does to channels."""
    layer = step.layer
    kind = type(layer)
    rule = RULES.get(kind.__name__) if kind.__module__.split(".")[0] in ("keras", "tf_keras") else None
    refs = refs_in((step.args, step.kwargs))
    if getattr(layer, "data_format", None) == "channels_first":
        tracker.block(step, Reason.CHANNELS_FIRST)
    elif rule is None or not refs or not _is_plain(layer, rule):
        tracker.block(step, Reason.LAYER)
        _count_unknown(tracker, step, refs)
    else:
        rule(tracker, step, refs[0])


def _is_plain(layer: Any, rule: LayerRule) -> bool:
    """Whether a layer has the weights that its rule knows, and no groups where the rule knows of none."""
    return set(weight_names(layer)) <= _KNOWN_WEIGHTS and not (rule is _transposed and getattr(layer, "groups", 1) > 1)


def _count_unknown(tracker: Tracker, step: Step, refs: Sequence[Ref]) -> None:
    """Count each matrix of a layer without a rule once a position of its input; looking up an Embedding costs none."""
    if type(step.layer).__name__ == "Embedding" or not refs:
        return
    matrices = sum(int(np.prod(weight.shape)) for weight in step.layer.weights if len(weight.shape) > 1)
    if matrices:
        tracker.count(step, refs[0], matrices)
