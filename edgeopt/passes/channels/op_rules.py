"""Rules for bare operations (`x * 2.`, `keras.ops.mean(x)`, `tf.reshape(x)`), all under their `keras.ops` names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...models.graph import operations
from ...models.graph.read import Step
from ...models.graph.structure import Ref, refs_in
from . import elementwise
from .labels import Reason
from .tracker import Tracker

_UNARY = frozenset(
    (
        "abs", "cast", "ceil", "celu", "clip", "cos", "elu", "erf", "exp", "floor", "gelu", "hard_sigmoid", "hard_silu",
        "identity", "leaky_relu", "linear", "log", "log_sigmoid", "mish", "negative", "relu", "relu6", "round", "rsqrt",
        "selu", "sigmoid", "sign", "silu", "sin", "softplus", "softsign", "sqrt", "square", "stop_gradient", "tanh",
    )
)  # fmt: skip
_BINARY = frozenset(
    ("add", "divide", "maximum", "minimum", "multiply", "power", "squared_difference", "subtract", "true_divide")
)
_REDUCTIONS = frozenset(("amax", "amin", "max", "mean", "min", "prod", "std", "sum", "var"))
_RESHAPES = frozenset(("expand_dims", "squeeze"))


def apply(tracker: Tracker, step: Step) -> None:
    """Write into the tracker what an operation does to channels."""
    refs = refs_in((step.args, step.kwargs))
    name = step.operation.removeprefix("activations.")
    try:
        given = operations.bind(step.operation, step.args, step.kwargs)
    except (TypeError, ValueError):
        given = {}
    if not refs or not given or not _known(tracker, step, name, given, refs):
        tracker.block(step, Reason.OPERATION)


def _known(tracker: Tracker, step: Step, name: str, given: Mapping[str, Any], refs: list[Ref]) -> bool:
    ref = refs[0]
    if name in _UNARY and len(refs) == 1:
        elementwise.passing(tracker, step, ref)
    elif name in _BINARY and len(refs) == 2:
        elementwise.combine(tracker, step, refs, keras_merge=False)
    elif name in _BINARY:
        constant = next(value for key, value in given.items() if key in ("x1", "x2") and not isinstance(value, Ref))
        elementwise.with_constant(tracker, step, ref, constant)
    elif name in _REDUCTIONS:
        elementwise.reduce_axes(tracker, step, ref, _listed(given["axis"], len(ref.shape)), bool(given["keepdims"]))
    elif name in ("softmax", "log_softmax"):
        _softmax(tracker, step, ref, _listed(given["axis"], len(ref.shape)))
    elif name == "concatenate":
        elementwise.concatenate(tracker, step, refs, int(given["axis"]))
    elif name == "transpose" and given["axes"] is not None:
        elementwise.permute(tracker, step, ref, given["axes"])
    elif name in _RESHAPES or (name == "reshape" and step.outputs[0].shape[0] == ref.shape[0]):
        _reshape(tracker, step, ref, name)
    elif name == "pad":
        _pad(tracker, step, ref, given["pad_width"])
    elif name == "get_item":
        _get_item(tracker, step, ref, given["key"])
    else:
        return False
    return True


def _listed(axis: Any, rank: int) -> list[int]:
    if axis is None:
        return list(range(rank))
    return [int(value) for value in axis] if isinstance(axis, (list, tuple)) else [int(axis)]


def _softmax(tracker: Tracker, step: Step, ref: Ref, axes: list[int]) -> None:
    channels, rank = tracker.tensors[ref], len(ref.shape)
    if channels is not None and channels.axis % rank in [axis % rank for axis in axes]:
        tracker.freeze([ref], Reason.SOFTMAX, step)
    elementwise.passing(tracker, step, ref)


def _reshape(tracker: Tracker, step: Step, ref: Ref, name: str) -> None:
    """A reshape by numbers holds the number of channels, so only one without any (-1) can follow a cut."""
    found = elementwise.reshape(tracker, step, ref)
    if found is None or name != "reshape":
        return
    sizes = [value for value in (*step.args, *step.kwargs.values()) if isinstance(value, (list, tuple))]
    if not sizes or sizes[0][found.axis] != -1:
        tracker.freeze([ref], Reason.RESHAPE, step)


def _pad(tracker: Tracker, step: Step, ref: Ref, width: Any) -> None:
    channels, rank = tracker.tensors[ref], len(ref.shape)
    listed = isinstance(width, (list, tuple)) and len(width) == rank
    if channels is None or not listed or tuple(width[channels.axis]) != (0, 0):
        tracker.block(step, Reason.OPERATION)
    else:
        elementwise.passing(tracker, step, ref)


def _get_item(tracker: Tracker, step: Step, ref: Ref, key: Any) -> None:
    """Slices of other axes than the channels' keep the channels; anything else stops here."""
    parts = list(key) if isinstance(key, (tuple, list)) else [key]
    rank = len(ref.shape)
    if Ellipsis in [part for part in parts if part is Ellipsis]:
        place = next(index for index, part in enumerate(parts) if part is Ellipsis)
        parts[place : place + 1] = [slice(None)] * (rank - len(parts) + 1)
    parts += [slice(None)] * (rank - len(parts))
    channels = tracker.tensors[ref]
    if channels is None or not all(isinstance(part, slice) for part in parts) or parts[channels.axis] != slice(None):
        tracker.block(step, Reason.OPERATION)
    else:
        elementwise.passing(tracker, step, ref)
