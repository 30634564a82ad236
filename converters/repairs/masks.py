"""Masks that an integer tensor can hold: a bound from the scores in place of -1e9, -3.4e38 or float16's lowest.

A mask adds a huge negative constant to the scores in front of a SOFTMAX, or selects it. One scale for that and for the
scores leaves nothing of the scores. All that the softmax asks of a masked score is to be so far below the others that
its exponential vanishes: a weight of exp(-20), about 2e-9, against the 6e-8 that float32 rounds to. So the constants
become as small as that allows, and the range of what they make ends where a score no longer counts; what lies lower
saturates there, which also keeps a row that is masked altogether uniform, as -1e9 makes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data.dataset import Array
from ...flatbuffer import read_model
from ...flatbuffer.model import Model, Operator
from ..outputs import Samples, file_tensors
from ..rewrite import packed, unpacked
from .change import Change

MASKING = 500.0  # that much is added or selected to mask: of scores that apart a softmax sees the highest alone
_VANISHED = 20.0  # below the lowest score: exp(-20) of its weight
_SPARE = 0.25  # of the scores' span, for scores lower or higher than those of the samples
_SOFTMAX = ("SOFTMAX", "LOG_SOFTMAX")
_ADDING = frozenset({"ADD", "SUB", "MUL"})
_CHOOSING = frozenset({"SELECT", "SELECT_V2", "MAXIMUM", "MINIMUM"})
_MOVING = frozenset({"RESHAPE", "TRANSPOSE", "EXPAND_DIMS", "SQUEEZE", "BROADCAST_TO", "TILE"})
_SAME = 1e-6  # of weights in [0, 1]: float32's rounding over a row


@dataclass(frozen=True)
class Masked:
    """A SOFTMAX, the operators between its scores and it, and the inputs among them that are huge constants."""

    softmax: Operator
    path: tuple[Operator, ...]
    constants: tuple[tuple[Operator, int], ...]  # operator, position among its inputs


def bound_masks(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with masks that integers can hold; None where it has none, or where it cannot be proven.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Input name (of its signature) -> samples; what the softmaxes give on them must stay the same.
    """
    model = read_model(content)
    found = list(masked_softmaxes(model))
    if not found:
        return None
    before = _inputs_of(content, model, found, samples)
    bounds = {
        item.softmax.index: bound for item in found if (bound := _bounds(before[item.softmax.inputs[0]])) is not None
    }
    found = [item for item in found if item.softmax.index in bounds]
    if not found:
        return None
    repaired = _with_bounds(content, found, bounds)
    after = _inputs_of(repaired, read_model(repaired), found, samples)
    floors: dict[int, float] = {}
    for item in found:
        scores, floor = item.softmax.inputs[0], bounds[item.softmax.index][0] - _VANISHED
        if np.max(np.abs(_softmax(before[scores]) - _softmax(np.maximum(after[scores], floor)))) > _SAME:
            return None
        made = [operator.outputs[0] for operator in item.path]
        floors |= dict.fromkeys((index for index in made if model.main.tensors[index].dtype == "float32"), floor)
    names = tuple(model.main.tensors[item.softmax.outputs[0]].name for item in found)
    how = f"masked with {min(floors.values()):.0f} or more, as the scores allow, in place of a huge constant"
    return Change("mask", repaired, names, f"{how}; no softmax changed", floors)


def masked_softmaxes(model: Model) -> Iterator[Masked]:
    """Yield the softmaxes of a float file whose scores are masked with a huge constant."""
    makers = {index: operator for operator in model.main.operators for index in operator.outputs}
    for operator in model.main.operators:
        if operator.name not in _SOFTMAX:
            continue
        path: list[Operator] = []
        constants: list[tuple[Operator, int]] = []
        waiting = [operator.inputs[0]]
        while waiting:
            maker = makers.get(waiting.pop())
            if maker is None or maker in path or maker.name not in _ADDING | _CHOOSING | _MOVING:
                continue
            path.append(maker)
            for position, index in enumerate(maker.inputs):
                values = None if index < 0 else model.main.tensors[index].data()
                if values is None:
                    waiting.append(index)
                elif values.dtype == np.float32 and np.any(np.abs(values) >= MASKING) and maker.name not in _MOVING:
                    constants.append((maker, position))
        if constants:
            yield Masked(operator, tuple(path), tuple(constants))


def _inputs_of(content: bytes, model: Model, found: list[Masked], samples: Samples) -> dict[int, Array]:
    return file_tensors(content, [model.main.tensors[item.softmax.inputs[0]] for item in found], samples)


def _bounds(scores: Array) -> tuple[float, float] | None:
    """The lowest and highest score that is not masked, with room to spare; None where all are."""
    kept = scores[scores > -MASKING / 2]
    if not kept.size:
        return None
    low, high = float(kept.min()), float(kept.max())
    return low - _SPARE * (high - low), high + _SPARE * (high - low)


def _with_bounds(content: bytes, found: list[Masked], bounds: Mapping[int, tuple[float, float]]) -> bytes:
    """Give each operator that masks a constant of its own that its scores bound."""
    from ai_edge_litert import schema_py_generated as schema

    tree = unpacked(content)
    graph = tree.subgraphs[0]
    for item in found:
        low, high = bounds[item.softmax.index]
        for operator, position in item.constants:
            source = graph.tensors[operator.inputs[position]]
            values = np.frombuffer(bytes(tree.buffers[source.buffer].data), "<f4").copy()
            huge = np.abs(values) >= MASKING
            reach = low - _VANISHED if operator.name in _CHOOSING else high - low + _VANISHED
            values[huge] = reach if operator.name in _CHOOSING else np.sign(values[huge]) * reach
            tree.buffers.append(schema.BufferT())
            tree.buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
            graph.tensors.append(_like(source, len(tree.buffers) - 1, f"bounded_mask_{len(graph.tensors)}"))
            masking = graph.operators[operator.index]
            masking.inputs = np.array(masking.inputs)  # a view of the file is read-only
            masking.inputs[position] = len(graph.tensors) - 1
    return packed(tree)


def _like(source: Any, buffer: int, name: str) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    made = schema.TensorT()
    made.shape, made.shapeSignature, made.type = source.shape, source.shapeSignature, source.type
    made.hasRank, made.buffer, made.name = source.hasRank, buffer, name
    return made


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
