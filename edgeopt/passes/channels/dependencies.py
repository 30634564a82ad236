"""The dependency graph of a model: which channels go together, what each layer loses with them, and what must stay."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from ...models.graph.read import Graph
from ...models.graph.structure import Ref, flatten_structure
from . import layer_rules, op_rules
from .labels import Block, Labels, Reason
from .tracker import Channels, LayerCut, Term, Tracker


@dataclass(frozen=True)
class Group:
    """Units that occur in the same places, so that any of them may stand for another.

    Attributes:
        name: The first layer whose filters they are.
        layers: All layers whose filters they are, in the order in which they run.
        units: The units' numbers, in ascending order.
        width: Channels that one unit takes up in `name`.
        stride: Units are kept in multiples of this, relative to a multiple of 1 channel: the greatest common divisor of
            the channels that a unit takes up in any place.
        block: Why the group must stay as it is, or None.
    """

    name: str
    layers: tuple[str, ...]
    units: Labels
    width: int
    stride: int
    block: Block | None

    @property
    def channels(self) -> int:
        """Output channels of `name` that belong to the group."""
        return len(self.units) * self.width


@dataclass(frozen=True)
class ChannelMap:
    """What is known about the channels of a graph.

    Attributes:
        graph: The flattened model.
        units: The unit of each label, shape (labels,).
        cuts: What removal does to each layer, in the order in which they first run.
        tensors: Channels of each tensor.
        gates: (index of a step, tensor) where channels are mixed into others.
        macs: Multiply-accumulates a sample, as terms over labels.
        open_step: A step whose multiply-accumulates cannot be counted, since its shape is open; empty if there is none.
        groups: All units that some layer's filters make, cuttable or not.
    """

    graph: Graph
    units: Labels
    cuts: tuple[LayerCut, ...]
    tensors: dict[Ref, Channels | None]
    gates: frozenset[tuple[int, Ref]]
    macs: tuple[Term, ...]
    open_step: str
    groups: tuple[Group, ...]

    @property
    def unit_count(self) -> int:
        """Number of units, frozen ones included."""
        return int(self.units.max(initial=-1)) + 1


def analyse(graph: Graph) -> ChannelMap:
    """Follow the channels of a flattened model from its inputs to its outputs."""
    tracker = Tracker(graph)
    for ref in graph.input_names:
        channels = None
        if len(ref.shape) > 1 and ref.shape[-1] is not None:
            channels = Channels(-1, tracker.table.fresh(int(ref.shape[-1])))
            tracker.table.freeze(channels.labels, Reason.MODEL_INPUT, f"input {graph.input_names[ref]!r}")
        tracker.tensors[ref] = channels
    for tracker.index, step in enumerate(graph.steps):
        (op_rules if step.layer is None else layer_rules).apply(tracker, step)
    for ref in flatten_structure(graph.outputs):
        channels = tracker.tensors[ref]
        if channels is not None:
            tracker.table.freeze(channels.labels, Reason.MODEL_OUTPUT, "an output of the model", first=True)
    units, frozen = tracker.table.units()
    cuts = tuple(tracker.cuts.values())
    groups = _groups(cuts, units, frozen)
    return ChannelMap(
        graph, units, cuts, tracker.tensors, frozenset(tracker.gates), tuple(tracker.macs), tracker.open_step, groups
    )


def _groups(cuts: tuple[LayerCut, ...], units: Labels, frozen: dict[int, Block]) -> tuple[Group, ...]:
    """Put units with the same number of positions in the same places together."""
    places: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    makers: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for index, cut in enumerate(cuts):
        for part, labels in enumerate(cut.labels()):
            for unit, count in zip(*np.unique(units[labels], return_counts=True), strict=True):
                places[int(unit)].append((index, part, int(count)))
        if cut.filters is not None:
            weight, axis = cut.filters
            for unit, count in zip(*np.unique(units[cut.weights[weight][axis]], return_counts=True), strict=True):
                makers[int(unit)].append((cut.name, int(count)))
    members: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for unit in sorted(makers):
        members[(tuple(places[unit]), frozen.get(unit))].append(unit)
    groups = []
    for (_, block), numbers in members.items():
        made = makers[numbers[0]]
        stride = int(np.gcd.reduce([count for _, _, count in places[numbers[0]]]))
        names = tuple(name for name, _ in made)
        found = block if isinstance(block, Block) else None
        groups.append(Group(names[0], names, np.asarray(numbers, dtype=np.int64), made[0][1], stride, found))
    return tuple(groups)
