"""Where the values of an integer file part from the model's, why, and what helps.

The float file that was calibrated and the integer file made from it call their tensors by the same names. So both run
on a few samples with all tensors kept, and the first operator whose result is under the floor, while what it was given
is not, is where it begins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.dataset import Array
from ..devices.agent.arith import real_range
from ..evaluation.fidelity import FLOOR_DB, Cause, Fidelity, snr_db
from ..flatbuffer import read_model
from ..flatbuffer.layer_names import layers_of
from ..flatbuffer.model import Model, Operator, Tensor
from .outputs import Samples, file_tensors
from .remedies import MIXED_INPUT, OUTLIER, mixture, outlier_ratio

# A value so low is no activation: it stands for minus infinity in a mask.
MASK = 1e4
_MASKING = frozenset({"ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM", "SELECT", "SELECT_V2"})
_ONE_SIDED = 0.05  # a masked tensor reaches up to so much of what it reaches down to, at most
_ROWS = 8  # samples that are looked at: every tensor of theirs is kept

_TRAIN = ", put biases and rounding right (--recover), or train with quantisation in mind (edgeopt optimize, pass qat)"
_REMEDIES = {
    "mask": "a mask's constant near {constant:.0e} sets the scale; mask with a value such as -100 instead, which the "
    "softmax cannot tell from it",
    "input": "one scale for values whose spans differ {ratio:.0f} times; normalise outside the model, or give what "
    "differs as inputs of their own",
    "joined": "one scale for joined parts whose spans differ {ratio:.0f} times; give the parts as outputs of their own",
    "outliers": "a few values {ratio:.1f} times larger than the rest set the scale; give more calibration samples, "
    f"which --ranges best chooses by{_TRAIN}",
    "ranges": f"give more calibration samples, which --ranges best chooses by{_TRAIN}",
}


@dataclass(frozen=True)
class MaskedScale:
    """A tensor whose scale a mask has set: the operator that reads or makes it, and the mask's constant."""

    operator: Operator
    tensor: Tensor
    constant: float


def masked_scales(model: Model) -> Iterator[MaskedScale]:
    """Yield the integer tensors whose scale was set by a mask's constant; no samples are needed.

    Such a tensor reaches from a huge negative value to nearly zero, and an operator that reads or makes it has a
    constant of that magnitude.
    """
    graph = model.main
    for operator in graph.operators:
        if operator.name not in _MASKING:
            continue
        tensors = [graph.tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0]
        constant = max((_largest(tensor) for tensor in tensors if tensor.is_constant), key=abs, default=0.0)
        for tensor in tensors:
            low, high = _reach(tensor)
            if low <= -MASK and high <= -_ONE_SIDED * low and 2 * abs(constant) >= -low and not tensor.is_constant:
                yield MaskedScale(operator, tensor, constant)
                break


def find_cause(
    float_file: bytes, file: bytes, samples: Samples, fidelity: Fidelity, layers: Sequence[str]
) -> Cause | None:
    """Return where the values of an integer file part from those of the float file that it was made from.

    Args:
        float_file: The float .tflite file that was calibrated.
        file: The integer file, whose outputs are not the model's.
        samples: Input name -> samples; the first few are run.
        fidelity: What was found of its outputs.
        layers: Names of the model's layers.
    """
    model = read_model(file)
    expected, got = _kept(float_file, samples), _kept(file, samples)
    ratios = {name: snr_db(expected[name], got[name]) for name in got if name in expected}
    masked = next(masked_scales(model), None)
    if masked is not None:
        return _cause(masked.operator, masked.tensor, ratios, layers, "mask", constant=masked.constant)
    joined = _joined(model, expected, fidelity)
    if joined is not None:
        operator, ratio = joined
        return _cause(operator, model.main.tensors[operator.outputs[0]], ratios, layers, "joined", ratio=ratio)
    found = _first_fall(model, ratios)
    if found is None:
        return None
    operator, tensor = found
    kind, ratio = _kind(model, operator, tensor, expected)
    return _cause(operator, tensor, ratios, layers, kind, ratio=ratio)


def mask_warnings(file: bytes, layers: Sequence[str]) -> list[str]:
    """Warn of a scale that a mask's constant has set, in a file whose outputs were not compared with the model's."""
    masked = next(masked_scales(read_model(file)), None)
    if masked is None:
        return []
    cause = _cause(masked.operator, masked.tensor, {}, layers, "mask", constant=masked.constant)
    return [f"fidelity: the outputs are not likely to be the model's, because of {cause}: {cause.remedy}"]


def _joined(model: Model, expected: Mapping[str, Array], fidelity: Fidelity) -> tuple[Operator, float] | None:
    """Return the operator that joins what was lost in an output with what set its scale, and how far they differ."""
    for index, output in zip(model.main.outputs, fidelity.outputs, strict=True):
        tensor = model.main.tensors[index]
        makers = [operator for operator in model.main.operators if index in operator.outputs]
        if not output.lost_channels or not makers or tensor.name not in expected:
            continue
        values = expected[tensor.name]
        spans = np.ptp(values.reshape(-1, values.shape[-1]), axis=0)
        return makers[0], float(spans.max() / spans[list(output.lost_channels)].max())
    return None


def _cause(
    operator: Operator, tensor: Tensor, ratios: Mapping[str, float], layers: Sequence[str], kind: str, **values: float
) -> Cause:
    known = layers_of(tensor.name, layers)
    return Cause(
        op=operator.name,
        index=operator.index,
        layer=known[-1] if known else "",
        tensor=tensor.name,
        scale=_scale(tensor),
        snr_db=ratios.get(tensor.name),
        kind=kind,
        remedy=_REMEDIES[kind].format(**values),
    )


def _first_fall(model: Model, ratios: Mapping[str, float]) -> tuple[Operator, Tensor] | None:
    """Return the first operator that is given what is above the floor and gives what is not; else the deepest fall."""
    deepest: tuple[float, Operator, Tensor] | None = None
    for operator in model.main.operators:
        given = [ratios[name] for name in _names(model, operator.inputs) if name in ratios]
        for index in operator.outputs:
            tensor = model.main.tensors[index]
            if tensor.name not in ratios or not given:
                continue
            ratio, before = ratios[tensor.name], min(given)
            if ratio < FLOOR_DB <= before:
                return operator, tensor
            if deepest is None or before - ratio > deepest[0]:
                deepest = before - ratio, operator, tensor
    return None if deepest is None else deepest[1:]


def _kind(model: Model, operator: Operator, tensor: Tensor, expected: Mapping[str, Array]) -> tuple[str, float]:
    """Say why an operator's result is not the model's, and the ratio that says so."""
    inputs = [expected[name] for name in _names(model, operator.inputs) if name in expected]
    mixed = max((mixture(values) for values in inputs), default=1.0)
    if mixed >= MIXED_INPUT:
        return "input", mixed
    outlier = outlier_ratio(expected[tensor.name])
    return ("outliers", outlier) if outlier >= OUTLIER else ("ranges", outlier)


def _kept(content: bytes, samples: Samples) -> dict[str, Array]:
    """Return the real values of every tensor that is computed, by its name, over a few samples; of unique names."""
    graph = read_model(content).main
    names = Counter(tensor.name for tensor in graph.tensors)
    computed = {index for operator in graph.operators for index in operator.outputs} | set(graph.inputs)
    wanted = [graph.tensors[index] for index in sorted(computed) if index >= 0]
    wanted = [
        tensor
        for tensor in wanted
        if names[tensor.name] == 1 and (tensor.dtype == "float32" or tensor.quantization is not None)
    ]
    found = file_tensors(content, wanted, {name: array[:_ROWS] for name, array in samples.items()})
    return {tensor.name: found[tensor.index] for tensor in wanted}


def _names(model: Model, indices: Sequence[int]) -> list[str]:
    return [model.main.tensors[index].name for index in indices if index >= 0]


def _scale(tensor: Tensor) -> float:
    return 0.0 if tensor.quantization is None else float(tensor.quantization.scales.max())


def _reach(tensor: Tensor) -> tuple[float, float]:
    """The smallest and the largest value that an integer tensor can hold."""
    if tensor.quantization is None or tensor.dtype not in ("int8", "uint8", "int16"):
        return 0.0, 0.0
    return real_range(float(tensor.quantization.scales[0]), int(tensor.quantization.zero_points[0]), tensor.dtype)


def _largest(tensor: Tensor) -> float:
    """The value of the largest magnitude in a constant with one scale; 0 for others."""
    values = tensor.data()
    if tensor.quantization is None or tensor.quantization.per_channel or values is None or not values.size:
        return 0.0
    scale, zero = float(tensor.quantization.scales[0]), float(tensor.quantization.zero_points[0])
    reals = (values.astype(np.float64) - zero) * scale
    return float(reals.ravel()[np.argmax(np.abs(reals))])
