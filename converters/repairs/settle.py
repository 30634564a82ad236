"""Decide whether operators at a model's edges stay float: only where the outputs would not be the model's otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

from ...evaluation.fidelity import Fidelity
from ...flatbuffer import read_model
from .edges import Edge, edges_of


class Requantise(Protocol):
    """Quantises an annotated file with the converter's settings, or with some of them changed."""

    def __call__(self, annotated: bytes, **changes: Any) -> bytes:
        """Return the quantised file; `changes` are arguments of TensorFlow's ``mlir_quantize``."""


@dataclass(frozen=True)
class Settled:
    """A file, and the operators at its edges that stayed float."""

    file: bytes
    edges: tuple[Edge, ...] = ()


def settle_edges(
    file: bytes,
    annotated: bytes,
    requantise: Requantise,
    fidelity_of: Callable[[bytes], Fidelity],
    open_ends: Sequence[str],
) -> Settled:
    """Return the file as it is where its outputs are the model's, and else one with float edges whose outputs are.

    Args:
        file: What `requantise` made of `annotated`.
        annotated: The float file with its ranges.
        requantise: See `Requantise`.
        fidelity_of: Compares a quantised file with the model.
        open_ends: At which ends operators may stay float: ``input``, ``output``.

    Returns:
        With the fewest edges that do; the file as it is where none does.
    """
    edges = [edge for edge in edges_of(read_model(annotated)) if edge.end in open_ends]
    if not edges or fidelity_of(file).holds:
        return Settled(file)
    for count in range(1, len(edges) + 1):
        for chosen in combinations(edges, count):
            made = requantise(annotated, **_changes(chosen))
            if fidelity_of(made).holds:
                return Settled(made, chosen)
    return Settled(file)


def _changes(edges: Sequence[Edge]) -> Mapping[str, Any]:
    import tensorflow as tf

    # The quantiser knows an operator by the full name of what it gives.
    names = {name for edge in edges for name in edge.tensors}
    return {"denylisted_nodes": names, **{f"{edge.end}_data_type": tf.float32 for edge in edges}}
