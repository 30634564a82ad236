"""Fold BatchNormalization, Normalization and Rescaling into the convolution or Dense layer behind or before them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ...errors import ModelError
from ..bridge.activations import canonical
from ..detect import Flavour
from ..graph.read import Step
from ..graph.structure import Ref, refs_in
from ..load import import_keras
from . import affine
from .affine import AFFINE, WEIGHTED, Affine
from .changes import LeftRule, NotExactError
from .draft import Draft

# Layers through which scale and offset pass, at inference, as they are.
_THROUGH = ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "Cropping1D", "Cropping2D", "AveragePooling1D",
            "AveragePooling2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D")  # fmt: skip
_MAXIMUM = ("MaxPooling1D", "MaxPooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D")
_PADDING = ("ZeroPadding1D", "ZeroPadding2D")
_SPREADING = ("Flatten", "Reshape")


def fold(draft: Draft) -> None:
    """Fold what can be folded exactly: first into the layer before, then into the one behind.

    Args:
        draft: Changed in place; what has to stay is noted.
    """
    reasons: dict[int, list[NotExactError]] = {}
    for step in _affine_steps(draft):
        _try(lambda step=step: into_layer_before(draft, step), step, reasons)
    for step in reversed(_affine_steps(draft)):  # the last of a chain first: it makes room for the one before
        _try(lambda step=step: into_layer_behind(draft, step), step, reasons)
    for step in reversed(_affine_steps(draft)):
        _merge(draft, step, reasons)
    made = {change.layer for change in draft.changes if change.rule == "operation to layer"}
    for step in _affine_steps(draft):
        if step.name not in made:  # what was an operation is a layer now, which is told already
            draft.leave(step, _telling(reasons.get(id(step.layer), [])))


def _affine_steps(draft: Draft) -> list[Step]:
    return [step for step in draft.graph.steps if draft.kind(step) in AFFINE]


def _try(fold_step: Any, step: Step, reasons: dict[int, list[NotExactError]]) -> None:
    try:
        fold_step()
    except NotExactError as error:
        reasons.setdefault(id(step.layer), []).append(error)


def _telling(found: list[NotExactError]) -> NotExactError:
    """Return the reason that says most: one about a neighbour rather than that there is none."""
    vague: tuple[LeftRule, ...] = ("no-neighbour",)
    telling = [error for error in found if error.rule not in vague]
    if telling:
        return telling[-1]
    return NotExactError("no-neighbour", "no convolution or Dense layer stands directly before or behind it")


def _read(draft: Draft, step: Step) -> tuple[Affine, Ref]:
    """Return what an affine step computes, and of which tensor."""
    sources = refs_in((step.args, step.kwargs))
    if len(sources) != 1:
        raise NotExactError("masked", f"{step.name!r} is called on {len(sources)} tensors")
    source = sources[0]
    draft.check_called_once(step)
    draft.check_single_precision(step)
    if not source.is_float:
        raise NotExactError("integer-input", f"{step.name!r} turns {source.dtype} into {step.outputs[0].dtype}")
    if source.dtype != step.outputs[0].dtype or len(source.shape) != len(step.outputs[0].shape):
        raise NotExactError("axis", f"{step.name!r} changes the type or the rank of what it is given")
    if source.shape[-1] != step.outputs[0].shape[-1]:
        raise NotExactError("axis", f"{step.name!r} makes {step.outputs[0].shape[-1]} channels of {source.shape[-1]}")
    return affine.read(step.layer, source.shape), source


def _check_weighted(draft: Draft, step: Step) -> None:
    draft.check_called_once(step)
    draft.check_single_precision(step)
    if getattr(step.layer, "data_format", "channels_last") != "channels_last":
        raise NotExactError("axis", f"{step.name!r} has its channels first")


def into_layer_before(draft: Draft, step: Step) -> None:
    """Fold what scales and shifts into the layer before it.

    Raises:
        NotExactError: That would compute something else; nothing has changed.
    """
    own, source = _read(draft, step)
    target = draft.maker(source)
    if target is None or draft.kind(target) not in WEIGHTED:
        raise NotExactError("no-neighbour", "no convolution or Dense layer stands before it")
    draft.only_user(source, f"the output of {target.name!r}")
    function = _activation(draft, target)
    if function != "linear":
        raise NotExactError("activation", f"the activation {function} of {target.name!r} comes first")
    _check_weighted(draft, target)
    draft.set_weights(target, affine.fold_behind(target.layer, draft.weights_of(target), own))
    # A layer that gives an output of the model gives it its name.
    name = step.name if draft.is_output(step.outputs[0]) else target.name
    draft.drop(step)
    draft.put(target, replace(target, outputs=step.outputs, name=name))
    draft.change(step, "folded", f"{type(step.layer).__name__} into the weights of {target.name!r} before it")


def _activation(draft: Draft, step: Step) -> str:
    """The activation of a layer by Keras 3's name; "custom" for one of the user's."""
    try:
        return canonical(step.layer.activation, draft.graph.flavour, step.name)
    except ModelError:
        return "custom"


def into_layer_behind(draft: Draft, step: Step) -> None:
    """Fold what scales and shifts into the layer behind it, also through what changes no single number.

    Raises:
        NotExactError: That would compute something else; nothing has changed.
    """
    own, source = _read(draft, step)
    between: list[Step] = []
    ref = step.outputs[0]
    while True:
        user = draft.only_user(ref, f"the output of {(between or [step])[-1].name!r}")
        if draft.kind(user) in WEIGHTED:
            break
        own = _through(draft, user, own)
        between.append(user)
        ref = user.outputs[0]
    _check_weighted(draft, user)
    if source.dtype != user.outputs[0].dtype:
        raise NotExactError("half-precision", f"{user.name!r} computes in another precision than {step.name!r}")
    draft.set_weights(user, affine.fold_before(user.layer, draft.weights_of(user), own))
    draft.drop(step)
    old, new = step.outputs[0], source
    for passed in between:
        rewired = draft.rewire(passed, old, new)
        old, new = passed.outputs[0], draft.fresh(passed.outputs[0])
        draft.put(rewired, replace(rewired, outputs=(new,)))
    draft.rewire(user, old, new)
    draft.change(step, "folded", f"{type(step.layer).__name__} into the weights of {user.name!r} behind it")


def _through(draft: Draft, step: Step, own: Affine) -> Affine:
    """Return scale and offset behind a layer that changes no single number.

    Raises:
        NotExactError: The layer does something else.
    """
    kind = draft.kind(step)
    draft.check_called_once(step)
    draft.check_single_precision(step)
    simple = own.scale.ndim == own.offset.ndim == 0
    if kind in _THROUGH or (kind in _MAXIMUM and bool((own.scale > 0).all())):
        return own
    if kind in _PADDING:
        if own.offset.any():
            raise NotExactError(
                "padding", f"{step.name!r} pads with zeros, to which the offset of this layer would not be added"
            )
        return own
    if kind in _SPREADING and simple:
        return own
    if kind == "Flatten" and None not in step.args[0].shape[1:]:
        return own.tiled(math.prod(step.args[0].shape[1:-1]))
    raise NotExactError("no-neighbour", f"{step.kind} comes first")


def _merge(draft: Draft, step: Step, reasons: dict[int, list[NotExactError]]) -> None:
    """Make one Rescaling of two layers that scale and shift, one behind the other; leave all else."""
    try:
        first, source = _read(draft, step)
        user = draft.only_user(step.outputs[0], step.name)
        if draft.kind(user) not in AFFINE:
            return
        second, _ = _read(draft, user)
    except NotExactError:
        return
    if "BatchNormalization" in (draft.kind(step), draft.kind(user)):
        return  # its statistics go on learning
    both = second.after(first)
    layer = draft.hold(_rescaling(draft.graph.flavour, both, user.name))
    reasons[id(layer)] = reasons.get(id(user.layer), [])
    draft.drop(step)
    draft.rewire(user, step.outputs[0], source)
    (changed,) = (other for other in draft.graph.steps if other.name == user.name)
    draft.put(changed, replace(changed, layer=layer))
    draft.change(step, "merged", f"{type(step.layer).__name__} and {user.name!r} into one Rescaling {user.name!r}")


def _rescaling(flavour: Flavour, values: Affine, name: str) -> Any:
    scale, offset = values.scale.tolist(), values.offset.tolist()
    return import_keras(flavour).layers.Rescaling(scale, offset, name=name, dtype="float32")
