"""Do two models compute the same? And if not, which layer is the first that differs?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import ConversionError
from .read import Graph, Step, read_graph
from .rebuild import run
from .samples import sample_inputs
from .structure import Ref, flatten_structure, map_structure

if TYPE_CHECKING:
    import numpy as np

# Two float32 evaluations of the same sums in another order differ by some 1e-7 of the largest value a layer; what a
# wrong argument or a wrong weight does is far above this.
RELATIVE_LIMIT = 1e-5

_Outputs = tuple[str, list[Any]]
_Call = tuple[str, int]


def verify(source: Any, bridged: Any, *, seed: int = 0) -> tuple[float, float]:
    """Compare two models on seeded random inputs, at inference.

    The rounding errors of successive layers add up, and a deep network may enlarge them: its outputs can be further
    apart than `RELATIVE_LIMIT` although both compute the same. Then each layer is compared by itself, on the same
    inputs: see `first_divergence`.

    Args:
        source: The model that was bridged.
        bridged: What came out of it: the same inputs, in the same order, and layers of the same names.
        seed: Seed of the inputs.

    Returns:
        Largest absolute difference, and largest difference relative to the scale of the output: its largest absolute
        value.

    Raises:
        ConversionError: An output differs by more than `RELATIVE_LIMIT` of its scale, and so does a layer by itself;
            the message names the first one that does.
    """
    graph = read_graph(source)
    inputs = sample_inputs(graph, seed)
    expected = _outputs(source, graph, inputs)
    received = _outputs(bridged, graph, inputs)
    pairs = [difference(want, have) for want, have in zip(expected, received, strict=True)]
    absolute, relative = max(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
    if relative > RELATIVE_LIMIT and (where := first_divergence(source, bridged, seed=seed)):
        raise ConversionError(
            f"The bridged model's outputs differ from the original's by {absolute:.3g} ({relative:.3g} of their scale, "
            f"at most {RELATIVE_LIMIT:g} expected), {where}; replace that layer "
            "by one that both flavours of Keras compute alike, or register a counterpart of your own with "
            "edgeopt.bridge.register."
        )
    return absolute, relative


def first_divergence(source: Any, bridged: Any, *, seed: int = 0) -> str:
    """Say which layer is the first, in the order of computation, that computes something else on the same inputs.

    The bridged model is run step by step, and what a step has put out is replaced by what the source has there before
    the next one takes it in: a difference is that of one layer, not what rounding has added up to on the way. What has
    no counterpart in the source is judged by the next step that has one, and the model by its outputs in the end.

    Returns:
        The layer and its difference, or "" where no layer differs by more than `RELATIVE_LIMIT` of its scale.
    """
    graph, other = read_graph(source), read_graph(bridged)
    inputs = sample_inputs(graph, seed)
    ours: dict[_Call, _Outputs] = {}

    def record(call: _Call, kind: str, outputs: list[Any]) -> list[Any]:
        ours[call] = kind, outputs
        return outputs

    found: list[str] = []

    def compare(call: _Call, _kind: str, outputs: list[Any]) -> list[Any]:
        layer_class, wanted = ours.get(call, ("", outputs))
        if [item.shape for item in wanted] != [item.shape for item in outputs]:
            return outputs
        relative = max((difference(_array(a), _array(b))[1] for a, b in zip(wanted, outputs, strict=True)), default=0)
        if relative > RELATIVE_LIMIT:
            found.append(f"first at layer {call[0]!r} ({layer_class}), by {relative:.3g} of its scale on equal inputs")
        # A mask goes with its tensor.
        masked = any(getattr(item, "_keras_mask", None) is not None for item in (*wanted, *outputs))
        return outputs if masked else wanted

    expected = _run(graph, inputs, record)
    received = _run(other, dict(zip(other.input_names, inputs.values(), strict=True)), compare)
    if found:
        return found[0]
    pairs = zip(expected, received, strict=True)
    if any(difference(_array(want), _array(have))[1] > RELATIVE_LIMIT for want, have in pairs):
        return "although every layer that can be compared agrees"
    return ""


def _outputs(model: Any, graph: Graph, inputs: dict[Ref, np.ndarray[Any, Any]]) -> list[Any]:
    import tensorflow as tf

    structure = map_structure(lambda ref: tf.constant(inputs[ref]), graph.inputs)
    return [_array(leaf) for leaf in flatten_structure(model(structure, training=False))]


def _run(
    graph: Graph, inputs: dict[Ref, np.ndarray[Any, Any]], then: Callable[[_Call, str, list[Any]], list[Any]]
) -> list[Any]:
    """Run a graph step by step and return its outputs.

    Args:
        graph: The model.
        inputs: An array for each of its inputs.
        then: Called with the name and number of each call, its class, and its outputs; returns those to go on with.
    """
    import tensorflow as tf

    calls: Counter[str] = Counter()

    def after(step: Step, outputs: list[Any]) -> list[Any]:
        calls[step.name] += 1
        return then((step.name, calls[step.name]), step.kind, outputs)

    tensors = run(graph, {ref: tf.constant(value) for ref, value in inputs.items()}, after=after)
    return [tensors[ref] for ref in flatten_structure(graph.outputs)]


def _array(tensor: Any) -> Any:
    import numpy as np

    return np.asarray(tensor.numpy(), dtype=np.float64)


def difference(want: Any, have: Any) -> tuple[float, float]:
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
