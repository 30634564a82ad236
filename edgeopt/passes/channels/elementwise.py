"""Rules for what combines or keeps channels one by one: sums, products, concatenations, activations, reshapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...models.graph.read import Step
from ...models.graph.structure import Ref
from .labels import Reason
from .tracker import Channels, Tracker

_ELEMENTWISE = frozenset(
    (
        "celu", "elu", "exp", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish",
        "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
        "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "swish", "tanh",
        "tanh_shrink", "threshold",
    )
)  # fmt: skip
_MIXING = frozenset(("glu", "log_softmax", "softmax", "sparsemax"))
_TRUSTED = ("keras", "tf_keras", "tensorflow", "edgeopt")


def check_activation(tracker: Tracker, step: Step, channels: Channels | None) -> None:
    """Freeze the channels that the activation inside of a layer mixes."""
    function = getattr(step.layer, "activation", None)
    if function is None or channels is None:
        return
    name = str(getattr(function, "__name__", type(function).__name__)).removeprefix("keras3_").lower()
    name = {"leakyrelu": "leaky_relu"}.get(name, name)
    trusted = str(getattr(function, "__module__", type(function).__module__)).split(".")[0] in _TRUSTED
    if trusted and name in _ELEMENTWISE:
        return
    reason = Reason.SOFTMAX if name in _MIXING else Reason.LAYER
    tracker.table.freeze(channels.labels, reason, f"activation {name} of {step.name!r}")


def passing(tracker: Tracker, step: Step, ref: Ref) -> None:
    """The step works on each channel alone, and leaves all axes in place."""
    tracker.set(step, tracker.tensors[ref])


def combine(tracker: Tracker, step: Step, refs: Sequence[Ref], *, keras_merge: bool) -> None:
    """Add, multiply...: tie the channels of the operands, which may be broadcast.

    Args:
        tracker: The walk.
        step: The step.
        refs: The operands that are tensors of the graph.
        keras_merge: Operands of lower rank get their missing axes behind the batch, as Keras' merging layers do it.
    """
    rank = len(step.outputs[0].shape)
    if not keras_merge and any(len(ref.shape) != rank for ref in refs):
        tracker.block(step, Reason.AXES)
        return
    lead = _leading(tracker, refs)
    if lead is None or step.outputs[0].shape[lead.axis] != len(lead.labels):
        tracker.block(step, Reason.AXES)
        return
    axis, size = lead.axis, len(lead.labels)
    for ref in refs:
        channels = tracker.tensors[ref]
        here = ref.shape[axis] if len(ref.shape) > -axis else 1
        if channels is not None and channels.axis == axis and len(channels.labels) == size:
            tracker.table.tie(lead.labels, channels.labels)
            continue
        # One value for all channels is no tie, but that value must stay; anything else varies along two axes.
        tracker.freeze([ref], Reason.AXES, step)
        if here != 1 or (channels is not None and len(channels.labels) != 1):
            tracker.table.freeze(lead.labels, Reason.AXES, f"{step.name!r}")
    tracker.set(step, lead)


def _leading(tracker: Tracker, refs: Sequence[Ref]) -> Channels | None:
    known = [channels for ref in refs if (channels := tracker.tensors[ref]) is not None]
    return max(known, key=lambda channels: len(channels.labels), default=None)


def with_constant(tracker: Tracker, step: Step, ref: Ref, constant: Any) -> None:
    """A tensor and a number: channels pass; one number a channel would have to be cut as well, so they stay."""
    if step.outputs[0].shape[1:] != ref.shape[1:]:
        tracker.block(step, Reason.OPERATION)
        return
    if np.size(constant) != 1:
        tracker.freeze([ref], Reason.OPERATION, step)
    passing(tracker, step, ref)


def concatenate(tracker: Tracker, step: Step, refs: Sequence[Ref], axis: int) -> None:
    """Put channels behind each other; along another axis, tie them."""
    known = [tracker.tensors[ref] for ref in refs]
    axis = axis if axis < 0 else axis - len(refs[0].shape)
    found = [channels for channels in known if channels is not None]
    if len(found) != len(refs) or len({channels.axis for channels in found}) != 1:
        tracker.block(step, Reason.AXES)
    elif found[0].axis == axis:
        tracker.set(step, Channels(axis, np.concatenate([channels.labels for channels in found])))
    else:
        for channels in found[1:]:
            tracker.table.tie(found[0].labels, channels.labels)
        tracker.set(step, found[0])


def reshape(tracker: Tracker, step: Step, ref: Ref) -> Channels | None:
    """Follow the channels into another shape; freezes them when they end up on no single axis."""
    channels, shape, target = tracker.tensors[ref], ref.shape[1:], step.outputs[0].shape[1:]
    if channels is None or None in shape or None in target or not target:
        tracker.block(step, Reason.RESHAPE)
        return None
    spread = np.broadcast_to(channels.labels, (*_without(shape, channels.axis), len(channels.labels)))
    spread = np.moveaxis(spread, -1, channels.axis)
    values, single = spread.reshape([int(size or 1) for size in target]), len(channels.labels) == 1
    for axis in range(-1, -len(target) - 1, -1):
        line = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
        if (single or values.shape[axis] > 1) and np.array_equal(line, np.broadcast_to(line[0], line.shape)):
            found = Channels(axis, line[0].copy())
            tracker.set(step, found)
            return found
    tracker.block(step, Reason.RESHAPE)
    return None


def _without(shape: Sequence[int | None], axis: int) -> tuple[int, ...]:
    sizes = [int(size or 1) for size in shape]
    del sizes[axis]
    return tuple(sizes)


def permute(tracker: Tracker, step: Step, ref: Ref, order: Sequence[int]) -> None:
    """Transpose; `order` names for each axis of the result, batch included, the axis that it was."""
    channels, rank = tracker.tensors[ref], len(ref.shape)
    places = [axis % rank for axis in order]
    if channels is None or places[0] != 0:
        tracker.block(step, Reason.AXES)
        return
    tracker.set(step, Channels(places.index(channels.axis % rank) - rank, channels.labels))


def reduce_axes(tracker: Tracker, step: Step, ref: Ref, axes: Sequence[int], keepdims: bool) -> None:
    """Mean, maximum... over some axes; over the channels, those stay."""
    channels, rank = tracker.tensors[ref], len(ref.shape)
    gone = {axis % rank for axis in axes}
    if channels is None or 0 in gone or channels.axis % rank in gone:
        tracker.block(step, Reason.NORMALISED if channels is not None else Reason.OPERATION)
        return
    behind = 0 if keepdims else sum(axis > channels.axis % rank for axis in gone)
    tracker.set(step, Channels(channels.axis + behind, channels.labels))
