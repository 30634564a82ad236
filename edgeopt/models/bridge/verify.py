"""Do two models compute the same? And if not, which layer is the first that differs?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ConversionError
from . import operations
from .graph import Graph, read_graph, takes_training
from .samples import sample_inputs
from .structure import Ref, flatten_structure, map_structure

if TYPE_CHECKING:
    import numpy as np

# Two float32 evaluations of the same sums in another order differ by some 1e-7 of the largest value a layer; what a
# wrong argument or a wrong weight does is far above this.
RELATIVE_LIMIT = 1e-5


def verify(source: Any, bridged: Any, *, seed: int = 0) -> tuple[float, float]:
    """Compare two models on seeded random inputs, at inference.

    Args:
        source: The model that was bridged.
        bridged: What came out of it: the same inputs, in the same order, and layers of the same names.
        seed: Seed of the inputs.

    Returns:
        Largest absolute difference, and largest difference relative to the scale of the output: its largest absolute
        value.

    Raises:
        ConversionError: An output differs by more than `RELATIVE_LIMIT` of its scale; the message names the first layer
            that does.
    """
    graph = read_graph(source)
    inputs = sample_inputs(graph, seed)
    expected = _outputs(source, graph, inputs)
    received = _outputs(bridged, graph, inputs)
    pairs = [_difference(want, have) for want, have in zip(expected, received, strict=True)]
    absolute, relative = max(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
    if relative > RELATIVE_LIMIT:
        raise ConversionError(
            f"The bridged model's outputs differ from the original's by {absolute:.3g} ({relative:.3g} of their scale, "
            f"at most {RELATIVE_LIMIT:g} expected), {first_divergence(source, bridged, seed=seed)}; replace that layer "
            "by one that both flavours of Keras compute alike, or register a counterpart of your own with "
            "edgeopt.bridge.register."
        )
    return absolute, relative


def first_divergence(source: Any, bridged: Any, *, seed: int = 0) -> str:
    """Say which layer is the first, in the order of computation, whose outputs differ by more than `RELATIVE_LIMIT`."""
    graph, other = read_graph(source), read_graph(bridged)
    inputs = sample_inputs(graph, seed)
    theirs = _run(other, dict(zip(other.input_names, inputs.values(), strict=True)))
    ours = _run(graph, inputs)
    for key, (layer_class, values) in ours.items():
        if key not in theirs:
            continue
        for want, have in zip(values, theirs[key][1], strict=False):
            relative = _difference(want, have)[1]
            if relative > RELATIVE_LIMIT:
                return f"first at layer {key[0]!r} ({layer_class}), by {relative:.3g} of its scale"
    return "although every layer that can be compared agrees"


def _outputs(model: Any, graph: Graph, inputs: dict[Ref, np.ndarray[Any, Any]]) -> list[Any]:
    import tensorflow as tf

    structure = map_structure(lambda ref: tf.constant(inputs[ref]), graph.inputs)
    return [_array(leaf) for leaf in flatten_structure(model(structure, training=False))]


def _run(graph: Graph, inputs: dict[Ref, np.ndarray[Any, Any]]) -> dict[tuple[str, int], tuple[str, list[Any]]]:
    """Run a graph step by step; returns class and outputs by name and number of the call."""
    import tensorflow as tf

    tensors: dict[Ref, Any] = {ref: tf.constant(value) for ref, value in inputs.items()}
    seen: dict[tuple[str, int], tuple[str, list[Any]]] = {}
    for step in graph.steps:
        args, kwargs = map_structure(
            lambda leaf: tensors[leaf] if isinstance(leaf, Ref) else leaf, (step.args, step.kwargs)
        )
        if step.layer is not None:
            if takes_training(step.layer):
                kwargs.setdefault("training", False)
            outputs = flatten_structure(step.layer(*args, **kwargs))
        else:
            outputs = flatten_structure(operations.run(step.operation, args, kwargs))
        tensors.update(zip(step.outputs, outputs, strict=True))
        calls = sum(name == step.name for name, _ in seen)
        seen[step.name, calls] = (
            type(step.layer).__name__ if step.layer is not None else step.operation,
            [_array(item) for item in outputs],
        )
    return seen


def _array(tensor: Any) -> Any:
    import numpy as np

    return np.asarray(tensor.numpy(), dtype=np.float64)


def _difference(want: Any, have: Any) -> tuple[float, float]:
    """Return the largest absolute difference, and that relative to the largest absolute value of `want`."""
    import numpy as np

    if want.shape != have.shape:
        return float("inf"), float("inf")
    with np.errstate(invalid="ignore"):
        gap = np.where((want == have) | (np.isnan(want) & np.isnan(have)), 0.0, np.abs(want - have))
    absolute = float(np.max(gap, initial=0.0))
    if np.isnan(absolute):
        return float("inf"), float("inf")
    scale = float(np.max(np.abs(want), initial=0.0, where=np.isfinite(want)))
    return absolute, absolute / scale if scale else absolute
