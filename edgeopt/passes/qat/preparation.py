"""Rescaling and Normalization of a picture in front of its first convolution, which takes them into its weights.

Where no convolution can, the last of them takes in the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.graph.read import Graph, Step
from ...models.graph.structure import Ref, refs_in
from ...models.rewrite import affine
from ...models.rewrite.affine import Affine
from ...models.rewrite.changes import NotExactError
from . import rules
from .choices import Choices, grid_of
from .neighbours import Neighbours

_PREPARING = frozenset({"Normalization", "Rescaling"})
_CONVOLUTIONS = frozenset({"Conv2D", "DepthwiseConv2D"})
_PICTURE = 4  # axes
_ALIKE = 4.0  # times: factors further apart would leave the kernel's small ones few of its own 8 bits


@dataclass(frozen=True)
class Preparation:
    """What is done to a picture by a convolution, or by the last layer that prepares it.

    Attributes:
        steps: The layers in front of it that pass on what they are given.
        scale, offset: One number for each channel: ``scale * x + offset``.
    """

    steps: tuple[Step, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]


def preparations(graph: Graph, neighbours: Neighbours, choices: Choices) -> dict[int, Preparation]:
    """Return what can be folded into convolutions, or else into the last layer in front, by the id of their step.

    A factor can be, whatever the padding; an offset where no border is padded with zeros, to which it is not added.
    """
    found = {}
    for ref in graph.input_names:
        channels = ref.shape[-1] if len(ref.shape) == _PICTURE and ref.is_float else None
        if channels is None:
            continue
        steps, own = _affine(neighbours, ref, channels)
        if not steps:
            continue
        user = neighbours.only_user(steps[-1].outputs[0])
        while user is not None and type(user.layer).__name__ == "ZeroPadding2D" and not np.any(own.offset):
            user = neighbours.only_user(user.outputs[0])
        if user is None or not _takes(user, own, neighbours, choices):
            user = steps.pop()
            if rules.objection(user.layer, [ref.shape]):
                continue
        if steps:
            found[id(user)] = Preparation(tuple(steps), tuple(own.scale.tolist()), tuple(own.offset.tolist()))
    return found


def _affine(neighbours: Neighbours, ref: Ref, channels: int) -> tuple[list[Step], Affine]:
    steps: list[Step] = []
    own = Affine(np.ones(channels), np.zeros(channels))
    user = neighbours.only_user(ref)
    while user is not None and type(user.layer).__name__ in _PREPARING and refs_in(user.args) == [ref]:
        try:
            own = affine.read(user.layer, ref.shape).sized(channels).after(own)
        except NotExactError:
            break
        steps.append(user)
        ref = user.outputs[0]
        user = neighbours.only_user(ref)
    return steps, own


def _takes(step: Step, own: Affine, neighbours: Neighbours, choices: Choices) -> bool:
    """Whether a step is a convolution that computes the same of the unprepared picture with other weights."""
    layer = step.layer
    if type(layer).__name__ not in _CONVOLUTIONS or rules.objection(layer, [ref.shape for ref in refs_in(step.args)]):
        return False
    size = np.abs(own.scale)
    pads = layer.padding != "valid" and any(side > 1 for side in layer.kernel_size)
    grouped = type(layer).__name__ == "Conv2D" and layer.groups > 1
    if step.name in choices.skip or grouped or not size.all() or (pads and np.any(own.offset)):
        return False
    has_norm = neighbours.norm_behind(step) is not None
    grid, _, clusters = grid_of(choices, layer, np.asarray(layer.weights[0]), has_norm=has_norm)
    if np.all(own.scale == own.scale[0]):
        return not np.any(own.offset) or grid == "channel"
    return grid == "channel" and not clusters and bool(size.max() <= _ALIKE * size.min())
