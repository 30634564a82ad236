"""The ends of a model, cut off: layers that look values up and encode them in front, and what joins its outputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...devices.agent.front import run_steps
from ...errors import ModelError, UsageError, nearest
from ..graph.read import Graph, Step
from ..graph.rebuild import copy_layer, read_native, rebuild, run
from ..graph.structure import Ref, refs_in
from ..graph.weights import copy_weights
from ..load import describe
from ..spec import InputSpec
from .steps import described, settings

# Layers that prepare values: what stands behind them is where a file can begin.
PREPARING = frozenset(
    {"CategoryEncoding", "Discretization", "HashedCrossing", "Hashing", "IntegerLookup", "StringLookup"}
    | {"TextVectorization"}
)
_BATCH = 256


@dataclass(frozen=True)
class Cut:
    """A model without its ends: what is in front of it, and what joins its outputs, is done in Python.

    Attributes:
        rest: The Keras model between the ends, uncompiled.
        inputs: What the front takes.
        steps: The front as `edgeopt.devices.agent.front` runs it; None where it has a layer that is not known there.
        unknown: Name and class of those layers.
        back: What makes the model's outputs of the rest's, in the same form.
        outputs: Names of the model's outputs.
    """

    rest: Any
    inputs: tuple[InputSpec, ...]
    steps: tuple[Mapping[str, Any], ...] | None
    unknown: tuple[tuple[str, str], ...]
    back: tuple[Mapping[str, Any], ...]
    outputs: tuple[str, ...]
    _graph: Graph
    _made: Mapping[str, Ref]

    def run(self, samples: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the front's own layers make of samples by input name, by the names of the rest's inputs."""
        found = values_of(self._graph, list(self._made.values()), samples)
        return {name: found[ref] for name, ref in self._made.items()}

    def proven(self, samples: Mapping[str, Any]) -> bool:
        """Whether the steps give what the layers give; False without steps."""
        if self.steps is None:
            return False
        ours, theirs = run_steps(self.steps, samples), self.run(samples)
        return all(
            np.asarray(ours[name]).shape == array.shape and np.allclose(ours[name], array, rtol=1e-5, atol=1e-6)
            for name, array in theirs.items()
        )

    def front(self) -> dict[str, Any] | None:
        """Return what the sidecar says of the front; None where the rest's inputs are the model's."""
        if not self._made:
            return None
        return {
            "inputs": [
                {"name": item.name, "dtype": item.dtype, "shape": [size or -1 for size in item.shape]}
                for item in self.inputs
            ],
            "layers": None if self.steps is None else [dict(step) for step in self.steps],
            "unknown": [{"layer": name, "class": kind} for name, kind in self.unknown],
        }

    def behind(self) -> dict[str, Any] | None:
        """Return what the sidecar says of what joins the outputs; None where they are the model's."""
        return {"outputs": list(self.outputs), "layers": [dict(step) for step in self.back]} if self.back else None


def values_of(graph: Graph, refs: Sequence[Ref], samples: Mapping[str, Any]) -> dict[Ref, Any]:
    """Return what tensors of a graph hold for samples by input name, computed by its own layers."""
    import tensorflow as tf

    count = len(next(iter(samples.values())))
    parts: dict[Ref, list[Any]] = {ref: [] for ref in refs}
    for start in range(0, count, _BATCH):
        given = {
            ref: tf.constant(np.asarray(samples[name])[start : start + _BATCH], ref.dtype)
            for ref, name in graph.input_names.items()
        }
        values = run(graph, given)
        for ref, found in parts.items():
            found.append(np.asarray(values[ref]))
    return {ref: np.concatenate(found) for ref, found in parts.items()}


def cut_front(model: Any, names: Sequence[str]) -> Cut:
    """Cut a Keras model in front of the named layers: what they are given becomes its inputs, called as its makers.

    Inputs that reach the outputs another way stay inputs.

    Raises:
        UsageError: A name is no layer of the model, or has nothing in front of it.
        ModelError: The model is no graph of layers, or a layer cannot be copied.
    """
    graph = read_native(model)
    known = {step.name: step for step in graph.steps}
    for name in names:
        if name not in known:
            raise UsageError(f"--from-layer names {name!r}, which is no layer of the model{nearest(name, known)}")
    border = {ref for name in names for ref in given_to(known[name])} - _beyond(graph, names)
    if border <= graph.input_names.keys():
        raise UsageError(
            f"--from-layer names {', '.join(names)}, in front of which the model has no layer; leave it out."
        )
    return cut(model, graph, border)


def cut(model: Any, graph: Graph, border: Collection[Ref], joins: Mapping[Ref, Sequence[Step]] | None = None) -> Cut:
    """Cut a model at some tensors, which become its inputs, and take the steps that join its outputs off.

    Args:
        model: A Keras model of either flavour.
        graph: `read_native` of it.
        border: Tensors of the graph.
        joins: An output of the graph -> the steps that make it, the last one last; what they are given becomes outputs.

    Raises:
        ModelError: A layer cannot be copied.
    """
    joins = joins or {}
    ends = border | graph.input_names.keys()
    given = _outputs(graph, joins)
    behind, taken = needed(graph, set(given), ends)
    made = [ref for step in graph.steps for ref in step.outputs if ref in taken & set(border)]
    front, wanted = needed(graph, set(made), graph.input_names.keys())
    names_of = {**graph.input_names, **_names(front, behind)}
    called = {ref: names_of[ref] for ref in [*(ref for ref in graph.input_names if ref in taken), *made]}
    inputs = list(called)
    rest = replace(graph, steps=behind, input_names=called, inputs=inputs[0] if len(inputs) == 1 else inputs)
    if joins:
        rest.outputs = given[0] if len(given) == 1 else given
    entering = {ref: name for ref, name in graph.input_names.items() if ref in wanted}
    first = replace(graph, steps=front, input_names=entering, inputs=list(entering), outputs=made)
    unknown = tuple((step.name, step.kind) for step in front if settings(step) is None)
    steps = None if unknown else tuple(described(front, names_of))
    specs = tuple(InputSpec(name, ref.shape, ref.dtype) for ref, name in entering.items())
    copied, outputs = _copied(rest, model), tuple(describe(model).spec.output_names)
    back = tuple(_back(graph, joins, dict(zip(given, describe(copied).spec.output_names, strict=True)), outputs))
    return Cut(copied, specs, steps, unknown, back, outputs, first, {called[ref]: ref for ref in made})


def _outputs(graph: Graph, joins: Mapping[Ref, Sequence[Step]]) -> list[Ref]:
    """Return the outputs of a graph with their parts in place of those that are joined, each once."""
    found: list[Ref] = []
    for output in refs_in(graph.outputs):
        made = {ref for step in joins.get(output, ()) for ref in step.outputs}
        parts = [ref for step in joins.get(output, ()) for ref in given_to(step) if ref not in made]
        found += parts if output in joins else [output]
    return list(dict.fromkeys(found))


def _back(
    graph: Graph, joins: Mapping[Ref, Sequence[Step]], parts: Mapping[Ref, str], outputs: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the steps that make a model's outputs of their parts; outputs that are none stay as they are."""
    for output, name in zip(refs_in(graph.outputs), outputs, strict=True):
        inner = {ref: step.name for step in joins.get(output, ()) for ref in step.outputs}
        yield from described(joins.get(output, ()), {**parts, **inner, output: name})


def beginnings(model: Any, layers: Collection[str] = ()) -> tuple[str, ...]:
    """Return the layers with which a file of the model could begin: those right behind what prepares values.

    Args:
        model: A Keras model of either flavour.
        layers: Layers that a file cannot have, besides `PREPARING`.

    Returns:
        Names in the order of the model; () for a model that is no graph.
    """
    try:
        graph = read_native(model)
    except ModelError:
        return ()
    preparing = [step for step in graph.steps if step.kind in PREPARING or step.name in layers]
    made = {ref for step in preparing for ref in step.outputs}
    takers = [step for step in graph.steps if made.intersection(given_to(step))]
    return tuple(dict.fromkeys(step.name for step in takers if step not in preparing))


def given_to(step: Step) -> list[Ref]:
    """Return the tensors that a step takes."""
    return refs_in((step.args, step.kwargs))


def _beyond(graph: Graph, names: Collection[str]) -> set[Ref]:
    """Return the tensors that depend on what one of the layers gives."""
    found: set[Ref] = set()
    for step in graph.steps:
        if step.name in names or found.intersection(given_to(step)):
            found.update(step.outputs)
    return found


def needed(graph: Graph, wanted: set[Ref], ends: Collection[Ref]) -> tuple[list[Step], set[Ref]]:
    """Return the steps that the wanted tensors depend on, back to `ends`, and those of `ends` that are met."""
    steps, wanted = [], set(wanted)
    for step in reversed(graph.steps):
        if any(ref in wanted and ref not in ends for ref in step.outputs):
            steps.append(step)
            wanted.update(given_to(step))
    return steps[::-1], {ref for ref in wanted if ref in ends}


def _names(steps: Sequence[Step], behind: Sequence[Step]) -> dict[Ref, str]:
    """Name the tensors of the front after their layers; one that has more, or stays in the rest, too, gives numbers."""
    kept, names = {step.name for step in behind}, dict[Ref, str]()
    for step in steps:
        for index, ref in enumerate(step.outputs):
            plain = len(step.outputs) == 1 and step.name not in kept and step.name not in names.values()
            names[ref] = step.name if plain else f"{step.name}_given_{len(names) if index == 0 else index}"
    return names


def _copied(graph: Graph, model: Any) -> Any:
    copies: list[tuple[Any, Any]] = []

    def copy(layer: Any, step: Step) -> Any:
        copied = copy_layer(layer, step, {})
        copies.append((layer, copied))
        return copied

    rebuilt = rebuild(graph, model, copy)
    for layer, copied in copies:
        if layer.weights:
            copy_weights(layer, copied)
    return rebuilt
