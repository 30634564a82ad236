"""Decide whether operators at a model's edges stay float: only where the outputs would not be the model's otherwise.

Raw features of very different ranges in one input, normalised inside the model: the normalisation stays float behind a
float input (or the fully connected layer that the converter has folded it into), and what follows is int8. Boxes and
scores joined in one output: the join stays float, in front of a float output; so does a fully connected layer whose
results are of such different units that one scale loses some. Names, order, shapes and real values stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from ...evaluation.fidelity import Fidelity
from ...flatbuffer import read_model
from ...flatbuffer.edges import EDGES, input_heads, output_heads
from ..quantise import Quantise


@dataclass(frozen=True)
class Settled:
    """A file with operators that stayed float.

    Attributes:
        file: The file.
        ends: At which ends of it (``input``, ``output``) they are.
        changes: What the quantiser is told to make them so.
    """

    file: bytes = field(repr=False)
    ends: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)


def settle_edges(
    file: bytes,
    annotated: bytes,
    quantise: Quantise,
    fidelity_of: Callable[[bytes], Fidelity],
    open_ends: Sequence[str],
) -> Settled:
    """Return the file as it is where its outputs are the model's, and else one with float edges whose outputs are.

    Args:
        file: What `quantise` made of `annotated`.
        annotated: The float file with its ranges.
        quantise: See `Quantise`.
        fidelity_of: Compares a quantised file with the model.
        open_ends: At which ends operators may stay float: keys of `EDGES`.

    Returns:
        With the fewest edges that do; the file as it is where none does.
    """
    model = read_model(annotated)
    edges = {end: EDGES[end](model) for end in open_ends}
    if "input" in open_ends and not edges["input"]:
        edges["input"] = input_heads(model)
    heads = output_heads(model) if "output" in open_ends else []
    if not heads and not any(edges.values()):
        return Settled(file)
    found = fidelity_of(file)
    if found.holds or found.still:
        return Settled(file)
    if any(output.lost_channels for output in found.outputs):
        edges["output"] = [*edges.get("output", []), *heads]
    # The quantiser knows an operator by the full name of what it gives.
    names = {end: {model.main.tensors[item.outputs[0]].name for item in items} for end, items in edges.items() if items}
    there = list(names)
    for count in range(1, len(there) + 1):
        for ends in combinations(there, count):
            changes = _changes({end: names[end] for end in ends})
            made = quantise(annotated, **changes)
            if fidelity_of(made).holds:
                return Settled(made, ends, changes)
    return Settled(file)


def _changes(names: dict[str, set[str]]) -> dict[str, Any]:
    import tensorflow as tf

    return {"denylisted_nodes": set.union(*names.values()), **{f"{end}_data_type": tf.float32 for end in names}}
