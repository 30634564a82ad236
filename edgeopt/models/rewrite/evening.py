"""Features and results of very different units become alike: scaled at a model's ends, and back in its weights.

Where no layer of the model normalises an input that a Dense layer or convolution takes, or a linear one gives results
of several units of measure, one integer scale serves none but the widest. With ``z = (x - c) / h`` the layer behind
takes ``h z + c`` by its weights alone, and a layer in front of an output gives ``z`` by its own. What is left at the
end, `Rescaling`, is what `edgeopt.models.rewrite.ends` cuts off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import ModelError
from ..graph.read import Step
from ..graph.structure import Ref, map_structure, refs_in
from ..load import import_keras
from .changes import NotExactError
from .draft import Draft
from .folding import into_layer_before, into_layer_behind
from .front import given_to, values_of
from .steps import settings

# Takes the least and the greatest value of each of several tensors; returns how many of eight bits each has left.
Bits = Callable[[Sequence[tuple[float, float]]], Sequence[float]]
MOVING = frozenset({"Concatenate", "Flatten", "Reshape"})
_FEW_BITS = 5.0  # an eighth of the widest: a bit less would be worth no change of what the model takes


def even_ends(draft: Draft, samples: Mapping[str, Any], bits: Bits) -> frozenset[str]:
    """Scale inputs and outputs whose narrowest channel has few bits left, where the weights beside can make up for it.

    Args:
        draft: Changed in place.
        samples: Input name -> samples; what they make of each tensor decides.
        bits: See `Bits`.

    Returns:
        The layers that scale outputs back.
    """
    inputs, outputs = list(_raw(draft)), list(_results(draft))
    values = values_of(draft.graph, [*inputs, *outputs], samples)
    uneven = [ref for ref, found in values.items() if least_bits(bits, channels(found)) <= _FEW_BITS]
    for ref in uneven:
        if ref in inputs:
            _try(draft, ref, values[ref], _even_input)
    return frozenset(name for ref in uneven if ref in outputs and (name := _try(draft, ref, values[ref], _even_output)))


def channels(values: Any) -> list[Any]:
    """Return the values of each channel."""
    return list(values.reshape(-1, values.shape[-1]).T) if values.ndim > 1 else [values]


def least_bits(bits: Bits, parts: Sequence[Any]) -> float:
    """Return how many bits the narrowest part has left that moves; 8 where none does."""
    if any(np.asarray(part).dtype.kind not in "fiu" for part in parts):
        return 8.0
    intervals = [(float(np.min(part)), float(np.max(part))) for part in parts]
    left = zip(bits(intervals), intervals, strict=True)
    return min((found for found, (low, high) in left if high > low), default=8.0)


def _raw(draft: Draft) -> Iterator[Ref]:
    """Yield the tensors of floats that are an input, or only moved from inputs."""
    reached = set(draft.graph.input_names)
    for step in draft.graph.steps:
        if step.kind in MOVING and settings(step) is not None and reached.issuperset(given_to(step)):
            reached.update(step.outputs)
    yield from (ref for ref in sorted(reached, key=lambda ref: ref.index) if ref.is_float)


def _results(draft: Draft) -> Iterator[Ref]:
    """Yield the tensors of floats that a layer makes and nothing but an end of the model takes."""
    waiting, seen = refs_in(draft.graph.outputs), set[Ref]()
    joins: list[Step] = []
    while waiting:
        ref = waiting.pop()
        step = draft.maker(ref)
        if step is None or ref in seen:
            continue
        seen.add(ref)
        if step.kind in MOVING and settings(step) is not None:
            joins.append(step)
            waiting += given_to(step)
        elif ref.is_float and all(user in joins for user in draft.users(ref)):
            yield ref


def _try(draft: Draft, ref: Ref, values: Any, change: Callable[[Draft, Ref, Any, Any], str]) -> str:
    """Make a change that moves the middle of each channel, too, or else its span alone; return "" where neither can."""
    parts = np.stack(channels(values)).astype(np.float64)
    low, high = parts.min(axis=1), parts.max(axis=1)
    for middle in ((low + high) / 2, np.zeros_like(low)):
        half = np.maximum(high - middle, middle - low)
        graph = draft.graph
        draft.graph = replace(graph, steps=list(graph.steps))
        try:
            return change(draft, ref, np.where(half > 0, half, 1.0), middle)
        except (NotExactError, ModelError):  # padding, an activation, several users: it stays as it was
            draft.graph = graph
    return ""


def _even_input(draft: Draft, ref: Ref, half: Any, middle: Any) -> str:
    users = draft.users(ref)
    name = f"{draft.graph.input_names.get(ref) or getattr(draft.maker(ref), 'name', '')}_scaled"
    scaled, real = _pair(draft, ref, name, (1 / half, -middle / half), (half, middle))
    for user in users:
        draft.rewire(user, ref, real.outputs[0])
    into_layer_behind(draft, real)
    return scaled.name


def _even_output(draft: Draft, ref: Ref, half: Any, middle: Any) -> str:
    maker = draft.maker(ref)
    if maker is None:
        return ""
    users, name = draft.users(ref), maker.name
    scaled, real = _pair(draft, ref, f"{name}_scaled", (1 / half, -middle / half), (half, middle))
    for user in users:
        draft.rewire(user, ref, real.outputs[0])
    draft.graph.outputs = map_structure(lambda leaf: real.outputs[0] if leaf == ref else leaf, draft.graph.outputs)
    into_layer_before(draft, scaled)
    # The output keeps its name, which is that of the layer that gives it.
    draft.put(real, replace(real, name=name))
    made = draft.maker(scaled.outputs[0])
    if made is not None:
        draft.put(made, replace(made, name=scaled.name))
    return name


def _pair(draft: Draft, ref: Ref, name: str, there: tuple[Any, Any], back: tuple[Any, Any]) -> tuple[Step, Step]:
    """Put two Rescalings that undo each other behind a tensor."""
    made: list[Step] = []
    for title, (scale, offset) in ((name, there), (f"{name}_back", back)):
        rescaling = import_keras(draft.graph.flavour).layers.Rescaling
        layer = draft.hold(rescaling(scale.tolist(), offset.tolist(), name=title, dtype="float32"))
        taken = made[-1].outputs[0] if made else ref
        made.append(Step(title, layer, "", (taken,), {}, (draft.fresh(ref),)))
    maker = draft.maker(ref)
    place = 0 if maker is None else draft.graph.steps.index(maker) + 1
    draft.graph.steps[place:place] = made
    return made[0], made[1]
