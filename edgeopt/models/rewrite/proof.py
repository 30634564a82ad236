"""Proof that a rewritten model computes what the model computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import ConversionError
from ..graph.compare import RELATIVE_LIMIT, difference
from ..graph.read import Graph, Step
from ..graph.rebuild import run
from ..graph.samples import sample_inputs
from ..graph.structure import Ref, flatten_structure, map_structure
from .rewriting import Rewritten

Array = npt.NDArray[Any]
_DRAWS = 4  # of two samples each
_BATCH = 16
_COARSE_LIMIT = 1e-3  # of a layer by itself, where the outputs agree


@dataclass(frozen=True)
class Proof:
    """How far two models are apart.

    Attributes:
        max_difference: Largest absolute difference of an output element.
        relative_difference: Largest of the outputs' difference / largest absolute value.
        samples: On how many samples.
    """

    max_difference: float
    relative_difference: float
    samples: int


def prove(model: Any, rewritten: Rewritten, *, seed: int = 0, data: Sequence[Array] = ()) -> Proof:
    """Run a model and what it was rewritten to on the same samples, and compare their outputs.

    The limit is the bridge's, 1e-5 of an output's scale. Folding rounds each weight once more (6e-8 of it) and sums in
    another order: some 1e-7 of the scale a layer. A deep network may add that up to more than the limit; then each
    layer is judged by itself on equal inputs, as the bridge does it.

    Args:
        model: As it was.
        rewritten: What `rewrite` made of it.
        seed: Seed of random samples.
        data: The user's own samples, one array an input, in the model's order; taken beside the random ones.

    Raises:
        ConversionError: They differ by more than the limit, and so does a layer by itself, or one layer does by far;
            the message names the first that does.
    """
    sources, size = _sources(rewritten, seed, data)
    pairs = (model, rewritten.before), (rewritten.model, rewritten.after)
    absolute, relative, count = _compare(*pairs, sources, size)
    limit = RELATIVE_LIMIT if relative > RELATIVE_LIMIT else _COARSE_LIMIT
    if where := first_difference(rewritten, sources[-1], size, limit):
        raise ConversionError(
            f"The rewritten model's outputs differ from the original's by {absolute:.3g} ({relative:.3g} of their "
            f"scale, at most {RELATIVE_LIMIT:g} expected), {where}; nothing was written. Take that layer out of the "
            "model, or use the model as it is."
        )
    return Proof(absolute, relative, count)


def check_reloaded(rewritten: Rewritten, again: Any, *, seed: int = 0, data: Sequence[Array] = ()) -> None:
    """Raise unless a rewritten model that was saved and loaded again computes the same as before.

    Raises:
        ConversionError: It does not.
    """
    sources, size = _sources(rewritten, seed, data)
    absolute, relative, _ = _compare((rewritten.model, rewritten.after), (again, rewritten.after), sources, size)
    if relative > RELATIVE_LIMIT:
        raise ConversionError(
            f"The rewritten model, saved and loaded again, gives outputs that differ by {absolute:.3g} ({relative:.3g} "
            "of their scale); Keras does not keep one of its layers as it was. Nothing was written: write that layer "
            "otherwise, or choose the other file format."
        )


def first_difference(
    rewritten: Rewritten, inputs: Sequence[Array], size: int | None = None, limit: float = RELATIVE_LIMIT
) -> str:
    """Say which layer of the new model is the first that computes something else on the same inputs.

    Each step takes what the model as it was has there, wherever both have the tensor.

    Returns:
        The layer and its difference, or "" where no layer differs by more than the limit.
    """
    batch, _ = next(_batches([list(inputs)], size))
    ours = _values(rewritten.before, batch, {})
    theirs = _values(rewritten.after, batch, ours)
    for step in rewritten.after.steps:
        for ref in step.outputs:
            if ref in ours and (relative := difference(_array(ours[ref]), _array(theirs[ref]))[1]) > limit:
                return f"first at layer {step.name!r} ({step.kind}), by {relative:.3g} of its scale on equal inputs"
    return ""


def _sources(rewritten: Rewritten, seed: int, data: Sequence[Array]) -> tuple[list[list[Array]], int | None]:
    """Return samples, and the batch size that one of the two models insists on."""
    sources = [list(sample_inputs(rewritten.before, seed + draw).values()) for draw in range(_DRAWS)]
    refs = (*rewritten.after.input_names, *rewritten.before.input_names)
    size = next((ref.shape[0] for ref in refs if ref.shape and ref.shape[0]), None)
    return [*sources, list(data)] if data else sources, size


def _compare(
    one: tuple[Any, Graph], other: tuple[Any, Graph], sources: Sequence[list[Array]], size: int | None
) -> tuple[float, float, int]:
    """Return the largest absolute and relative difference of two models' outputs, and the number of samples."""
    wanted: list[list[Array]] = []
    found: list[list[Array]] = []
    count = 0
    for batch, own in _batches(sources, size):
        count += own
        wanted.append([array[:own] for array in _outputs(*one, batch)])
        found.append([array[:own] for array in _outputs(*other, batch)])
    columns = zip(zip(*wanted, strict=True), zip(*found, strict=True), strict=True)
    pairs = [difference(np.concatenate(want), np.concatenate(have)) for want, have in columns]
    return max(pair[0] for pair in pairs), max(pair[1] for pair in pairs), count


def _batches(sources: Sequence[list[Array]], size: int | None) -> Iterator[tuple[list[Array], int]]:
    """Yield batches, and how many samples of each are new: with a fixed `size`, the last one is filled up."""
    for arrays in sources:
        count = len(arrays[0])
        step = size or _BATCH
        for start in range(0, count, step):
            rows = np.arange(start, start + step) % count if size else np.arange(start, min(start + step, count))
            yield [np.asarray(array[rows]) for array in arrays], min(step, count - start)


def _outputs(model: Any, graph: Graph, batch: Sequence[Array]) -> list[Array]:
    import tensorflow as tf

    given = _tensors(graph, batch)
    structure = map_structure(lambda ref: given[ref], graph.inputs)
    outputs = flatten_structure(model(structure, training=False))
    return [_array(tf.convert_to_tensor(leaf)) for leaf in outputs]


def _values(graph: Graph, batch: Sequence[Array], known: Mapping[Ref, Any]) -> dict[Ref, Any]:
    """Compute every tensor of a graph; what is `known` of a tensor is what the steps behind it take."""
    found: dict[Ref, Any] = {}

    def after(step: Step, outputs: list[Any]) -> list[Any]:
        found.update(zip(step.outputs, outputs, strict=True))
        return [known.get(ref, found[ref]) for ref in step.outputs]

    run(graph, _tensors(graph, batch), after=after)
    return found


def _tensors(graph: Graph, batch: Sequence[Array]) -> Mapping[Ref, Any]:
    import tensorflow as tf

    return {ref: tf.constant(np.asarray(array), ref.dtype) for ref, array in zip(graph.input_names, batch, strict=True)}


def _array(tensor: Any) -> Array:
    return np.asarray(tensor.numpy(), np.float64)
