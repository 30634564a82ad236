"""Between a user's model and TFMOT's wrappers: a flat tf_keras model in, the trained weights back to the user.

TFMOT wraps layers of tf_keras, one by one. `Wrappable` is the model as tf_keras sees it, with what a pass must know to
decide which layers to wrap; `carry_back` puts the weights of the stripped model into a flat copy of the user's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import ConversionError, ModelError, UsageError, nearest
from ...models.bridge import flatten, to_tf_keras
from ...models.detect import Flavour
from ...models.graph.compare import verify
from ...models.graph.read import Graph, Step
from ...models.graph.rebuild import read_native, rebuild
from ...models.graph.structure import Ref, refs_in
from ...models.graph.weights import copy_weights
from ...models.load import flavour_of
from ...training.context import Skipped
from ..properties import kernels_of


@dataclass(frozen=True)
class Wrappable:
    """A flat tf_keras copy of a model, and the layers of it that hold kernels.

    Attributes:
        model: The copy; wrappers share its layers, so it is spent when they train.
        target: A flat, uncompiled copy in the flavour that was given, to take the trained weights.
        graph: Its graph.
        layers: Layer name -> layer, for each layer with a kernel, in the order of the model.
        first: Names of the layers that see the model's inputs through no other kernel.
        last: Names of those whose outputs pass no other kernel.
        masked: Names of those that get or make a Keras mask.
    """

    model: Any
    target: Any
    graph: Graph = field(repr=False)
    layers: Mapping[str, Any]
    first: frozenset[str]
    last: frozenset[str]
    masked: frozenset[str]


def wrappable(model: Any, seed: int) -> Wrappable:
    """Return flat copies of a model of either flavour: one in tf_keras, one in its own.

    Raises:
        UsageError: `model` is no Keras model.
        ModelError: A layer has no counterpart in tf_keras, or the model is no graph of layers.
    """
    target = flatten(model, seed=seed).model
    flat = (to_tf_keras if flavour_of(model) is Flavour.KERAS3 else flatten)(model, seed=seed).model
    graph = read_native(flat)
    layers = {step.name: step.layer for step in graph.steps if step.layer is not None and kernels_of(step.layer)}
    return Wrappable(
        flat,
        target,
        graph,
        layers,
        frozenset(_first(graph.steps, layers)),
        frozenset(_first([_reversed(step) for step in reversed(graph.steps)], layers)),
        frozenset(name for name, layer in layers.items() if _is_masked(layer)),
    )


def wrap(source: Wrappable, wrapper: Callable[[str, Any], Any]) -> Any:
    """Return the model with each layer replaced by what `wrapper` makes of it: a wrapper, or the layer itself.

    Its outputs keep their names, by which losses and labels are given.

    Raises:
        ModelError: A wrapper cannot stand where its layer stood.
    """
    graph = source.graph
    steps = [_named_arguments(step) for step in graph.steps]
    wrapped = rebuild(replace(graph, steps=steps), source.model, lambda layer, step: wrapper(step.name, layer))
    if hasattr(source.model, "output_names"):
        wrapped.output_names = list(source.model.output_names)
    return wrapped


def carry_back(source: Wrappable, trained: Any, seed: int) -> Any:
    """Return `source.target` with the weights of `trained`.

    Args:
        source: What was wrapped.
        trained: A tf_keras model with layers of the same names, stripped of wrappers.
        seed: Seed of the inputs on which both are compared.

    Raises:
        ConversionError: The two compute different things.
    """
    targets = {str(layer.name): layer for layer in source.target.layers}
    for layer in trained.layers:
        if layer.weights:
            if str(layer.name) not in targets:
                raise ConversionError(f"The trained layer {layer.name!r} has no counterpart in {source.target.name!r}.")
            copy_weights(layer, targets[str(layer.name)])
    verify(trained, source.target, seed=seed)
    return source.target


def check_layer_names(source: Wrappable, names: Collection[str], option: str) -> None:
    """Raise unless each name is that of a layer with a kernel.

    Raises:
        UsageError: An unknown name (the nearest is told), or a layer without a kernel.
    """
    for name in names:
        if name in source.layers:
            continue
        if any(step.name == name for step in source.graph.steps):
            raise UsageError(f"{option} names {name!r}, which has no kernel; name a layer that has one.")
        raise UsageError(f"{option} names {name!r}, which is no layer of the model{nearest(name, source.layers)}")


def check_any(source: Wrappable, chosen: Collection[str], skipped: Collection[Skipped], doing: str) -> None:
    """Raise when nothing was chosen.

    Raises:
        ModelError: The reasons are counted.
    """
    if chosen:
        return
    reasons = sorted({entry.reason for entry in skipped})
    why = f"its {len(source.layers)} layers with kernels are left out ({', '.join(reasons)})" if reasons else "no layer"
    raise ModelError(
        f"The model {source.model.name!r} has nothing to {doing}: {why if reasons else 'no layer of it has a kernel'}; "
        "give one with Dense, convolution or recurrent layers, and do not skip all of them."
    )


def _first(steps: list[Step], layers: Mapping[str, Any]) -> set[str]:
    """Return the layers with kernels that are reached without passing another one."""
    behind: set[Ref] = set()
    found: set[str] = set()
    for step in steps:
        has_kernel = step.name in layers
        reached = any(ref in behind for ref in refs_in((step.args, step.kwargs)))
        if has_kernel and not reached:
            found.add(step.name)
        if has_kernel or reached:
            behind.update(step.outputs)
    return found


def _reversed(step: Step) -> Step:
    """The step as a walk from the outputs to the inputs meets it."""
    return replace(step, args=step.outputs, kwargs={}, outputs=tuple(refs_in((step.args, step.kwargs))))


def _is_masked(layer: Any) -> bool:
    """Whether a mask passes here: TFMOT's wrappers drop it."""
    nodes = layer._inbound_nodes
    tensors = [tensor for node in nodes for tensor in (*_flat(node.input_tensors), *_flat(node.outputs))]
    return any(getattr(tensor, "_keras_mask", None) is not None for tensor in tensors)


def _flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _named_arguments(step: Step) -> Step:
    """All arguments but the first by name: the second positional one of a wrapper is `training`, whatever it wraps."""
    if step.layer is None or len(step.args) < 2:
        return step
    names = [name for name in inspect.signature(step.layer.call).parameters if name != "self"]
    return replace(
        step, args=step.args[:1], kwargs={**dict(zip(names[1:], step.args[1:], strict=False)), **step.kwargs}
    )
