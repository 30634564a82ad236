"""The front of a model, cut off: the layers that look values up and encode them, where a file cannot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...artifact.front import KINDS, prepare
from ...errors import ModelError, UsageError, nearest
from ..graph.read import Graph, Step
from ..graph.rebuild import copy_layer, read_native, rebuild, run
from ..graph.structure import Ref, refs_in
from ..graph.weights import copy_weights
from ..spec import InputSpec

# Layers that prepare values: what stands behind them is where a file can begin.
PREPARING = frozenset(
    {"CategoryEncoding", "Discretization", "HashedCrossing", "Hashing", "IntegerLookup", "StringLookup"}
    | {"TextVectorization"}
)
_BATCH = 256


@dataclass(frozen=True)
class Cut:
    """A model in two parts.

    Attributes:
        rest: The Keras model from the named layers on, uncompiled.
        inputs: What the front takes.
        steps: The front as `edgeopt.artifact.front` runs it; None where it has a layer that is not known there.
        unknown: Name and class of those layers.
    """

    rest: Any
    inputs: tuple[InputSpec, ...]
    steps: tuple[Mapping[str, Any], ...] | None
    unknown: tuple[tuple[str, str], ...]
    _graph: Graph
    _made: Mapping[str, Ref]

    def run(self, samples: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the front's own layers make of samples by input name, by the names of the rest's inputs."""
        import tensorflow as tf

        count = len(next(iter(samples.values())))
        parts: dict[str, list[Any]] = {name: [] for name in self._made}
        for start in range(0, count, _BATCH):
            given = {
                ref: tf.constant(np.asarray(samples[name])[start : start + _BATCH], ref.dtype)
                for ref, name in self._graph.input_names.items()
            }
            values = run(self._graph, given)
            for name, ref in self._made.items():
                parts[name].append(np.asarray(values[ref]))
        return {name: np.concatenate(found) for name, found in parts.items()}

    def proven(self, samples: Mapping[str, Any]) -> bool:
        """Whether the steps give what the layers give; False without steps."""
        if self.steps is None:
            return False
        ours, theirs = prepare(self.steps, samples), self.run(samples)
        return all(
            np.asarray(ours[name]).shape == array.shape and np.allclose(ours[name], array, rtol=1e-5, atol=1e-6)
            for name, array in theirs.items()
        )

    def to_dict(self) -> dict[str, object]:
        """Return what the sidecar says of the front."""
        return {
            "inputs": [
                {"name": item.name, "dtype": item.dtype, "shape": [size or 1 for size in item.shape]}
                for item in self.inputs
            ],
            "layers": None if self.steps is None else [dict(step) for step in self.steps],
            "unknown": [{"layer": name, "class": kind} for name, kind in self.unknown],
        }


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
    border = {ref for name in names for ref in _given(known[name])} - _beyond(graph, names)
    behind, taken = _needed(graph, set(refs_in(graph.outputs)), border | graph.input_names.keys())
    made = [ref for step in graph.steps for ref in step.outputs if ref in taken & border]
    if not made:
        raise UsageError(
            f"--from-layer names {', '.join(names)}, in front of which the model has no layer; leave it out."
        )
    front, wanted = _needed(graph, set(made), graph.input_names.keys())
    names_of = {**graph.input_names, **_names(front, behind)}
    called = {ref: names_of[ref] for ref in [*(ref for ref in graph.input_names if ref in taken), *made]}
    inputs = list(called)
    rest = replace(graph, steps=behind, input_names=called, inputs=inputs[0] if len(inputs) == 1 else inputs)
    entering = {ref: name for ref, name in graph.input_names.items() if ref in wanted}
    first = replace(graph, steps=front, input_names=entering, inputs=list(entering), outputs=made)
    unknown = tuple((step.name, step.kind) for step in front if _settings(step) is None)
    steps = None if unknown else tuple(_described(front, names_of))
    specs = tuple(InputSpec(name, ref.shape, ref.dtype) for ref, name in entering.items())
    return Cut(_copied(rest, model), specs, steps, unknown, first, {called[ref]: ref for ref in made})


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
    takers = [step for step in graph.steps if made.intersection(_given(step))]
    return tuple(dict.fromkeys(step.name for step in takers if step not in preparing))


def _given(step: Step) -> list[Ref]:
    return refs_in((step.args, step.kwargs))


def _beyond(graph: Graph, names: Collection[str]) -> set[Ref]:
    """Return the tensors that depend on what one of the layers gives."""
    found: set[Ref] = set()
    for step in graph.steps:
        if step.name in names or found.intersection(_given(step)):
            found.update(step.outputs)
    return found


def _needed(graph: Graph, wanted: set[Ref], ends: Collection[Ref]) -> tuple[list[Step], set[Ref]]:
    """Return the steps that the wanted tensors depend on, back to `ends`, and those of `ends` that are met."""
    steps, wanted = [], set(wanted)
    for step in reversed(graph.steps):
        if any(ref in wanted and ref not in ends for ref in step.outputs):
            steps.append(step)
            wanted.update(_given(step))
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


def _described(steps: Sequence[Step], names: Mapping[Ref, str]) -> Iterator[dict[str, Any]]:
    for step in steps:
        ends = {"inputs": [names[ref] for ref in refs_in(step.args)], "output": names[step.outputs[0]]}
        yield {"layer": step.name, "class": step.kind, **ends, **(_settings(step) or {})}


def _settings(step: Step) -> dict[str, Any] | None:
    """Return what a step computes with, as `edgeopt.artifact.front` reads it; None for one that is not known there."""
    called = {key: value for key, value in step.kwargs.items() if key != "training" and value is not None}
    if step.kind not in KINDS or called or len(step.outputs) != 1:
        return None
    return _SETTINGS[step.kind](step.layer, step)


def _lookup(layer: Any, step: Step) -> dict[str, Any] | None:
    if layer.num_oov_indices > 1 or layer.invert or layer.output_mode == "tf_idf" or layer.sparse:
        return None
    words = [word.item() if hasattr(word, "item") else word for word in layer.get_vocabulary()]
    unknown = words.index(layer.oov_token) if layer.num_oov_indices else -1
    size = layer.max_tokens if layer.pad_to_max_tokens else len(words)
    return {"vocabulary": words, "unknown": unknown, "output_mode": layer.output_mode, "size": size}


def _encoding(layer: Any, step: Step) -> dict[str, Any] | None:
    return None if layer.sparse else {"output_mode": layer.output_mode, "size": layer.num_tokens}


def _discretization(layer: Any, step: Step) -> dict[str, Any] | None:
    boundaries = [float(edge) for edge in layer.bin_boundaries]
    mode = {"output_mode": layer.output_mode, "size": len(boundaries) + 1}
    return None if layer.sparse else {"boundaries": boundaries, **mode}


def _normalization(layer: Any, step: Step) -> dict[str, Any] | None:
    if layer.invert:
        return None
    mean, variance = (np.asarray(part, np.float32) for part in (layer.mean, layer.variance))
    factor = 1 / np.maximum(np.sqrt(variance), np.float32(1e-7))  # Keras' epsilon
    return {"shift": mean.tolist(), "factor": factor.tolist(), "offset": 0.0}


def _rescaling(layer: Any, step: Step) -> dict[str, Any] | None:
    factor, offset = (np.asarray(part, np.float32).tolist() for part in (layer.scale, layer.offset))
    return {"shift": 0.0, "factor": factor, "offset": offset}


def _reshape(layer: Any, step: Step) -> dict[str, Any] | None:
    shape = step.outputs[0].shape[1:]
    return None if None in shape else {"shape": list(shape)}


def _concatenate(layer: Any, step: Step) -> dict[str, Any] | None:
    return {"axis": int(layer.axis)}


_SETTINGS: dict[str, Callable[[Any, Step], dict[str, Any] | None]] = {
    "StringLookup": _lookup,
    "IntegerLookup": _lookup,
    "CategoryEncoding": _encoding,
    "Discretization": _discretization,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Concatenate": _concatenate,
}
