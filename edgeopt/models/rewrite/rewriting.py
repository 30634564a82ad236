"""From a model to the same model with fewer and plainer layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..graph.read import Graph, Step
from ..graph.rebuild import copy_layer, rebuild
from ..graph.structure import Ref
from ..graph.weights import settle
from .changes import Change, Left
from .draft import Draft
from .folding import fold
from .layering import operations_to_layers


@dataclass(frozen=True)
class Rewritten:
    """A rewritten model.

    Attributes:
        model: The new model, of the same flavour, uncompiled.
        changes: What was done.
        left: What could not be done exactly.
        before: The flat graph of the model as it was.
        after: That of the new model; a tensor that both have holds the same numbers in both.
    """

    model: Any
    changes: tuple[Change, ...]
    left: tuple[Left, ...]
    before: Graph
    after: Graph


def plan(model: Any) -> tuple[tuple[Change, ...], tuple[Left, ...]]:
    """Return what `rewrite` would do, and what it would leave.

    Raises:
        ModelError: The model is subclassed and no graph.
    """
    draft = _drafted(model, None)
    return tuple(draft.changes), tuple(draft.left)


def rewrite(model: Any, *, batch_size: int | None = None) -> Rewritten:
    """Rewrite a model exactly: flatten it, make layers of operations, fold what scales and shifts.

    Names of inputs and outputs stay. `model` is not changed. Nothing is proven here: see `prove`.

    Args:
        model: A Keras model of either flavour.
        batch_size: Give the inputs this static batch size.

    Raises:
        ModelError: The model is subclassed and no graph, or one of its layers cannot be copied.
    """
    draft = _drafted(model, batch_size)
    built, copies = build(draft, model)
    steps = [step if step.layer is None else replace(step, layer=copies[id(step.layer)]) for step in draft.graph.steps]
    after = replace(draft.graph, steps=steps)
    return Rewritten(built, tuple(draft.changes), tuple(draft.left), draft.before, after)


def build(draft: Draft, model: Any) -> tuple[Any, dict[int, Any]]:
    """Return the model that a draft of `model` stands for, and its layers by the ids of those that they are copies of.

    Raises:
        ModelError: A layer cannot be copied.
    """
    pairs: list[tuple[Any, Any]] = []

    def copy(layer: Any, step: Step) -> Any:
        copied = copy_layer(layer, step, draft.settings.get(id(layer), {}))
        pairs.append((layer, copied))
        return copied

    built = rebuild(draft.graph, model, copy)
    for layer, copied in pairs:
        _set_weights(copied, draft.weights.get(id(layer)) or layer.get_weights())
    return built, {id(layer): copied for layer, copied in pairs}


def _drafted(model: Any, batch_size: int | None) -> Draft:
    draft = Draft(model)
    for note in draft.before.notes:
        if note.rule in ("flattened", "traced"):
            draft.changes.append(Change(note.layer, "flattened" if note.rule == "flattened" else "traced", note.detail))
    operations_to_layers(draft)
    fold(draft)
    if batch_size is not None:
        _fix_batch(draft, batch_size)
    return draft


def _fix_batch(draft: Draft, batch_size: int) -> None:
    fixed = {}
    for ref, name in draft.graph.input_names.items():
        shape = (batch_size, *ref.shape[1:])
        fixed[Ref(ref.index, shape, ref.dtype)] = name
        if ref.shape != shape:
            before = "open" if ref.shape[0] is None else ref.shape[0]
            draft.changes.append(Change(name, "batch fixed", f"the batch was {before} and is {batch_size} now"))
    draft.graph = replace(draft.graph, input_names=fixed)


def _set_weights(layer: Any, weights: list[Any]) -> None:
    if not weights:
        return
    layer.set_weights(weights)
    settle(layer)
