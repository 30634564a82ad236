"""Which channels each tensor and each weight of a graph carries, while the graph is walked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...models.graph.read import Graph, Step
from ...models.graph.structure import Ref, refs_in
from .labels import Labels, LabelTable, Reason


@dataclass(frozen=True)
class Channels:
    """The channel axis of a tensor (negative, counted from the end) and the label of each position on it."""

    axis: int
    labels: Labels


@dataclass(frozen=True)
class Setting:
    """A layer setting that counts channels: the number of `labels` kept / `divisor`.

    `position` is an index into the setting when that is a tuple, as in the target shape of a Reshape.
    """

    key: str
    labels: Labels
    divisor: int = 1
    position: int | None = None


@dataclass
class LayerCut:
    """What removing channels does to one layer.

    Attributes:
        name: Its name in the flat graph.
        layer: The layer object.
        weights: Weight name -> axis -> labels on that axis.
        settings: Settings that change with the weights.
        filters: (weight name, axis) of the weight that makes the layer's output channels, if it makes any.
    """

    name: str
    layer: Any
    weights: dict[str, dict[int, Labels]] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()
    filters: tuple[str, int] | None = None

    def labels(self) -> list[Labels]:
        """Return all label arrays: those of the weights, then those of the settings."""
        weights = [labels for axes in self.weights.values() for labels in axes.values()]
        return [*weights, *(setting.labels for setting in self.settings)]


@dataclass(frozen=True)
class Term:
    """A part of a cost: ``coefficient * |kept of first| * |kept of second|``; None stands for a factor of 1."""

    coefficient: float
    first: Labels | None = None
    second: Labels | None = None


class Tracker:
    """The state of a walk over the steps of a graph; rules for layers and operations write into it.

    Attributes:
        tensors: The channels of each tensor so far; None for one without a channel axis of known size.
        cuts: What removal does to each layer object, by its id.
        macs: Multiply-accumulates, as terms.
        gates: (index of a step, tensor): where a step mixes the channels of that tensor into other channels. Removing
            a channel means that these steps see zeros in its place.
        open_step: A step whose multiply-accumulates cannot be counted, since its shape is open.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.table = LabelTable()
        self.tensors: dict[Ref, Channels | None] = {}
        self.cuts: dict[int, LayerCut] = {}
        self.macs: list[Term] = []
        self.gates: set[tuple[int, Ref]] = set()
        self.open_step = ""
        self.index = 0
        self._own: dict[tuple[int, str], Labels] = {}
        self._blocked: dict[int, tuple[Reason, Step]] = {}

    def own(self, step: Step, key: str, count: int) -> Labels:
        """Return the labels that a layer makes itself: the same ones in each of its calls."""
        known = self._own.get((id(step.layer), key))
        if known is None:
            known = self._own[id(step.layer), key] = self.table.fresh(count)
        return known

    def last_axis(self, ref: Ref, step: Step) -> Labels:
        """Return the labels on the last axis of a tensor that a step mixes; channels on another axis are frozen."""
        channels = self.tensors[ref]
        if channels is not None and channels.axis == -1:
            self.gates.add((self.index, ref))
            return channels.labels
        self.freeze([ref], Reason.AXES, step)
        return self._frozen(int(ref.shape[-1] or 1), Reason.AXES, step)

    def cut(
        self,
        step: Step,
        weights: dict[str, dict[int, Labels]],
        settings: Sequence[Setting] = (),
        filters: tuple[str, int] | None = None,
    ) -> None:
        """Record what removal does to the layer of `step`, or tie it to what an earlier call recorded."""
        cut = LayerCut(step.name, step.layer, weights, tuple(settings), filters)
        known = self.cuts.setdefault(id(step.layer), cut)
        if known is not cut:
            for ours, theirs in zip(known.labels(), cut.labels(), strict=True):
                self.table.tie(ours, theirs)
        if id(step.layer) in self._blocked:
            self._freeze_cut(cut, *self._blocked[id(step.layer)])

    def set(self, step: Step, channels: Channels | None) -> None:
        """Say what the first output of a step carries; the channels of any other output are frozen."""
        self.tensors[step.outputs[0]] = channels
        for ref in step.outputs[1:]:
            self.tensors[ref] = self.opaque(ref, Reason.OPERATION, step)

    def freeze(self, refs: Sequence[Ref], reason: Reason, step: Step) -> None:
        """Forbid the removal of the channels of `refs`, because of `step`."""
        for ref in refs:
            channels = self.tensors[ref]
            if channels is not None:
                self.table.freeze(channels.labels, reason, describe(step))

    def block(self, step: Step, reason: Reason) -> None:
        """Stop at a step: what goes in stays as it is, and so does what comes out."""
        self.freeze(refs_in((step.args, step.kwargs)), reason, step)
        for ref in step.outputs:
            self.tensors[ref] = self.opaque(ref, reason, step)
        if step.layer is not None:
            self._blocked[id(step.layer)] = (reason, step)
            if id(step.layer) in self.cuts:  # another call of the layer could be followed
                self._freeze_cut(self.cuts[id(step.layer)], reason, step)

    def opaque(self, ref: Ref, reason: Reason, step: Step) -> Channels | None:
        """Return channels that cannot be removed, for a tensor that no rule explains."""
        if len(ref.shape) < 2 or ref.shape[-1] is None:
            return None
        return Channels(-1, self._frozen(int(ref.shape[-1]), reason, step))

    def count(
        self, step: Step, ref: Ref, coefficient: float, first: Labels | None = None, second: Labels | None = None
    ) -> None:
        """Add multiply-accumulates: so many a position of `ref` (all axes but first and last), times the channels."""
        sizes = ref.shape[1:-1]
        if None in sizes:
            self.open_step = self.open_step or step.name
        self.macs.append(Term(coefficient * math.prod(int(size or 1) for size in sizes), first, second))

    def _freeze_cut(self, cut: LayerCut, reason: Reason, step: Step) -> None:
        for labels in cut.labels():
            self.table.freeze(labels, reason, describe(step))

    def _frozen(self, count: int, reason: Reason, step: Step) -> Labels:
        labels = self.table.fresh(count)
        self.table.freeze(labels, reason, describe(step))
        return labels


def describe(step: Step) -> str:
    """Return the name and the kind of a step, for reports.

    Example:
        >>> describe(step)
        "'dense_3' (Dense)"
    """
    return f"{step.name!r} ({step.kind})"
