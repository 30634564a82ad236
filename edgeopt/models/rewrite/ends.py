"""A model whose file takes prepared values and gives the parts of its outputs: the remedy for mixed ranges in int8.

Features of very different ranges in one input, which the model normalises itself, and parts of very different ranges
joined in one output, have one integer scale each in a file. Cut off, the normalisation and the joining are done in
Python, in float, and the file is integer through and through.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ...devices.agent.front import run_steps
from ...errors import ModelError
from ..graph.read import Graph, Step
from ..graph.rebuild import read_native
from ..graph.structure import Ref, refs_in
from ..load import describe
from .affine import AFFINE
from .draft import Draft
from .evening import MOVING, Bits, channels, even_ends, least_bits
from .front import Cut, cut, given_to, needed, values_of
from .layering import operations_to_layers
from .rewriting import build
from .steps import settings

_SAME = 1e-4  # of an output's scale
_TRIED = 64
_WORTH = 1.0  # bits: twice the steps


def cut_ends(model: Any, samples: Mapping[str, Any], bits: Bits) -> Cut | None:
    """Cut off the normalisations of inputs, and the joins of outputs, that cost some feature or part a bit or more.

    Bare operations count as the layers that compute the same. Inputs that nothing normalises, and linear layers whose
    results have units of their own, are scaled (`even_ends`).

    Args:
        model: A Keras model of either flavour.
        samples: Input name -> samples; what they make of each tensor decides.
        bits: See `Bits`.

    Returns:
        None where there is nothing to gain.

    Raises:
        ModelError: The model is no graph of layers, or a layer cannot be copied; or the parts compute something else.
    """
    draft = Draft(model)
    operations_to_layers(draft)
    scaled = even_ends(draft, samples, bits)
    if draft.changes:
        model = build(draft, model)[0]
    graph = read_native(model)
    border, joins = _normalised(graph), _joins(graph, scaled)
    inputs, parts = list(graph.input_names), {ref: _parts(steps) for ref, steps in joins.items()}
    wanted = dict.fromkeys([*inputs, *border, *(part for found in parts.values() for part in found)])
    values = values_of(graph, list(wanted), samples)
    kept = {ref for ref in border if _gain(graph, ref, values, bits) >= _WORTH}
    front, _ = needed(graph, kept, graph.input_names.keys())
    left = {ref: least_bits(bits, [values[part] for part in found]) for ref, found in parts.items()}
    torn = {
        ref: joins[ref]
        for ref, found in left.items()
        if found <= 8 - _WORTH or any(step.name in scaled for step in joins[ref])
    }
    if not front and not torn:
        return None
    made = cut(model, graph, _left(graph, front), torn)
    _prove(draft.before, made, {name: values[:_TRIED] for name, values in samples.items()})
    return made


def _prove(graph: Graph, made: Cut, samples: Mapping[str, Any]) -> None:
    """Raise unless the parts give what the model gives on samples."""
    wanted = values_of(graph, refs_in(graph.outputs), samples)
    rest, given = read_native(made.rest), {**samples, **made.run(samples)}
    found = values_of(rest, refs_in(rest.outputs), {name: given[name] for name in rest.input_names.values()})
    parts = zip(describe(made.rest).spec.output_names, refs_in(rest.outputs), strict=True)
    joined = run_steps(made.back, {name: found[ref] for name, ref in parts})
    for name, ref in zip(made.outputs, refs_in(graph.outputs), strict=True):
        error = float(np.max(np.abs(joined[name] - wanted[ref]), initial=0))
        if error > _SAME * float(np.max(np.abs(wanted[ref]), initial=0)):
            raise ModelError(
                f"Without its ends the model gives something else at {name!r} (by {error:.2g}); convert it with "
                "--edges auto or int8, and report this as a bug."
            )


def _normalised(graph: Graph) -> list[Ref]:
    """Return the tensors that known layers make of inputs alone, some of which scale and shift, at their end."""
    reached = set(graph.input_names)
    scaling: set[Ref] = set()
    for step in graph.steps:
        given = given_to(step)
        if given and reached.issuperset(given) and step.kind in MOVING | set(AFFINE) and settings(step) is not None:
            reached.update(step.outputs)
            scaling.update(step.outputs if step.kind in AFFINE else ())
    front, _ = needed(graph, scaling, graph.input_names.keys())
    outputs = refs_in(graph.outputs)
    return [ref for ref in _left(graph, front) if ref not in outputs]


def _left(graph: Graph, front: Sequence[Step]) -> list[Ref]:
    """Return the tensors of a front that something behind it takes."""
    inside = {step.name for step in front}
    taken = {ref for step in graph.steps if step.name not in inside for ref in given_to(step)}
    return [ref for step in front for ref in step.outputs if ref in taken]


def _joins(graph: Graph, scaled: Collection[str]) -> dict[Ref, list[Step]]:
    """Return the outputs that join parts, and the steps that do so; what is joined of joined parts is taken apart.

    Args:
        graph: The model.
        scaled: Layers that scale a part back, which are steps, too.
    """
    makers = {ref: step for step in graph.steps for ref in step.outputs}

    def steps_of(ref: Ref) -> list[Step]:
        step = makers.get(ref)
        if step is None or (step.kind not in MOVING and step.name not in scaled) or settings(step) is None:
            return []
        inner = [found for given in given_to(step) for found in steps_of(given)]
        return [*inner, step] if inner or step.kind == "Concatenate" or step.name in scaled else []

    found = {ref: list({step.name: step for step in steps_of(ref)}.values()) for ref in refs_in(graph.outputs)}
    return {ref: steps for ref, steps in found.items() if steps and not graph.input_names.keys() & _parts(steps)}


def _parts(steps: Sequence[Step]) -> dict[Ref, None]:
    """Return what the steps that join an output are given, in order."""
    made = {ref for step in steps for ref in step.outputs}
    return dict.fromkeys(ref for step in steps for ref in given_to(step) if ref not in made)


def _gain(graph: Graph, ref: Ref, values: Mapping[Ref, Any], bits: Bits) -> float:
    """Return how many bits the narrowest channel has more where inputs are normalised before they are rounded."""
    _, inputs = needed(graph, {ref}, graph.input_names.keys())
    before = min((least_bits(bits, channels(values[item])) for item in inputs), default=8.0)
    return least_bits(bits, channels(values[ref])) - before
