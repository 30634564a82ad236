"""Seeded random inputs in the range that a model is made for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .read import Graph, Step
from .structure import Ref, refs_in

if TYPE_CHECKING:
    import numpy as np

_OPEN_SIZE = 64  # stands in for a dimension that the model leaves open
_BATCH = 2
_PASSING = (
    "InputLayer",
    "Reshape",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "Cropping1D",
    "Cropping2D",
    "Dropout",
    "Flatten",
    "Permute",
    "Resizing",
)
_IMAGE_SCALE = 1 / 16  # a Rescaling by less than this is fed with 0..255


def sample_inputs(graph: Graph, seed: int) -> dict[Ref, np.ndarray[Any, Any]]:
    """Return one batch for each input of the graph.

    Ids below the size of the Embedding that an input goes to, 0..255 before a Rescaling that divides by that (and for
    integer inputs), mean and variance of a Normalization; standard normal numbers otherwise.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    return {ref: _sample(graph, ref, generator) for ref in graph.input_names}


def _sample(graph: Graph, ref: Ref, generator: np.random.Generator) -> np.ndarray[Any, Any]:
    import numpy as np

    shape = [_OPEN_SIZE if size is None else size for size in ref.shape]
    if shape and ref.shape[0] is None:
        shape[0] = _BATCH
    step = _consumer(graph, ref)
    layer = step.layer if step is not None else None
    kind = type(layer).__name__
    values: Any
    if kind == "Embedding" and layer is not None:
        values = generator.integers(0, layer.input_dim, shape)
    elif kind == "Normalization" and layer is not None:
        mean, variance = np.asarray(layer.mean), np.asarray(layer.variance)
        values = mean + np.sqrt(variance) * generator.standard_normal(shape)
    elif (
        kind == "Rescaling" and layer is not None and np.max(np.abs(layer.scale)) < _IMAGE_SCALE
    ) or "int" in ref.dtype:
        values = generator.integers(0, 128 if ref.dtype == "int8" else 256, shape)
    elif ref.dtype == "bool":
        values = generator.integers(0, 2, shape)
    else:
        values = generator.standard_normal(shape)
    return np.asarray(values).astype({"bfloat16": "float32", "string": "str"}.get(ref.dtype, ref.dtype))


def _consumer(graph: Graph, ref: Ref) -> Step | None:
    """Return the first step that does something to the numbers of an input."""
    for step in graph.steps:
        if ref in refs_in((step.args, step.kwargs)):
            if type(step.layer).__name__ in _PASSING or step.operation in ("cast", "reshape", "get_item"):
                return _consumer(graph, step.outputs[0])
            return step
    return None
