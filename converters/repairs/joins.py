"""Affine operators behind a CONCATENATION, moved in front of it, so that each of its inputs has its own scale.

Operands of one CONCATENATION share its scale in an integer file. Where one of them is much narrower than the others,
and what follows (a normalisation) makes them alike, the same additions and multiplications go first, each with its part
of the constants: the same values in another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...data.dataset import Array
from ...flatbuffer.model import Operator
from ..narrow import bits_left
from ..outputs import Samples, file_tensors
from .change import Change
from .editing import AFFINE, Editor

_GAIN = 1.0  # bits: twice the steps


@dataclass(frozen=True)
class _Join:
    """A CONCATENATION, the affine operators that are all that takes its result, and its axis."""

    operator: Operator
    chain: tuple[Operator, ...]
    axis: int


def affine_before_joins(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with affine operators in front of a CONCATENATION where that gives an operand more steps.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Input name (of its signature) -> samples that say how wide the operands are.
    """
    editor = Editor(content)
    tensors = editor.graph.tensors
    joins = list(_joins(editor))
    wanted = {index for join in joins for index in (*join.operator.inputs, join.chain[-1].outputs[0])}
    values = file_tensors(content, [tensors[index] for index in sorted(wanted)], samples) if joins else {}
    names, gains = [], []
    for join in joins:
        before = _least_bits([values[index] for index in join.operator.inputs])
        after = _least_bits(_parts(editor, join, values[join.chain[-1].outputs[0]]))
        if after - before >= _GAIN:
            _move(editor, join)
            names.append(tensors[join.chain[-1].outputs[0]].name)
            gains.append((before, after))
    if not names:
        return None
    before, after = min(gains)
    what = f"moved in front of the concatenation: the narrowest of its inputs has {after:.1f} bits instead of"
    return Change("joined", editor.content(), tuple(names), f"{what} {before:.1f}")


def _least_bits(parts: Sequence[Array]) -> float:
    """Return how many bits the narrowest part has left; what never changes needs none."""
    intervals = [(float(part.min()), float(part.max())) for part in parts]
    left = zip(bits_left(intervals), intervals, strict=True)
    return min((bits for bits, (low, high) in left if high > low), default=8.0)


def _joins(editor: Editor) -> Iterator[_Join]:
    for operator in editor.graph.operators:
        if operator.name != "CONCATENATION" or operator.options.get("fused_activation_function") != "NONE":
            continue
        shape = editor.graph.tensors[operator.outputs[0]].shape
        chain: list[Operator] = []
        user = editor.only_user(operator.outputs[0])
        while user is not None and user.name in AFFINE and _is_affine(editor, user, shape):
            chain.append(user)
            user = editor.only_user(user.outputs[0])
        computed = all(not editor.graph.tensors[index].is_constant for index in operator.inputs)
        if chain and computed and len(operator.inputs) > 1:
            axis = operator.options.get("axis")
            yield _Join(operator, tuple(chain), int(str(axis)) % len(shape))


def _is_affine(editor: Editor, operator: Operator, shape: tuple[int, ...]) -> bool:
    constants = [index for index in operator.inputs if editor.value(index) is not None]
    return len(constants) == 1 and editor.graph.tensors[operator.outputs[0]].shape == shape


def _ends(editor: Editor, join: _Join) -> list[int]:
    """Where the parts of the operands end along the axis, but for the last."""
    return [
        int(end) for end in np.cumsum([editor.graph.tensors[i].shape[join.axis] for i in join.operator.inputs])[:-1]
    ]


def _parts(editor: Editor, join: _Join, values: Array) -> list[Array]:
    """Split what the file gave for all samples, one after the other along the first axis, by operand."""
    shape = editor.graph.tensors[join.operator.outputs[0]].shape
    return np.split(values.reshape(-1, *shape), _ends(editor, join), axis=join.axis + 1)


def _move(editor: Editor, join: _Join) -> None:
    tensors = editor.graph.tensors
    rank = len(tensors[join.operator.outputs[0]].shape)
    parts = list(join.operator.inputs)
    for operator in join.chain:
        position = next(place for place, index in enumerate(operator.inputs) if editor.value(index) is not None)
        constant, name = operator.inputs[position], tensors[operator.outputs[0]].name
        for place, values in enumerate(_pieces(editor, join, constant, rank)):
            if _changes_nothing(operator, position, values):
                continue  # left in, the quantiser would stumble over it
            piece = editor.constant(values, tensors[constant].name)
            inputs = [piece, parts[place]] if position == 0 else [parts[place], piece]
            shape = tensors[join.operator.inputs[place]].shape
            parts[place] = editor.copy(operator, inputs, (shape, name))
        editor.drop(operator)
    editor.copy(join.chain[-1], parts, join.chain[-1].outputs[0], like=join.operator)


def _pieces(editor: Editor, join: _Join, constant: int, rank: int) -> list[Array]:
    """Return a constant's part for each operand."""
    values = np.asarray(editor.value(constant))
    axis = join.axis - rank + values.ndim
    if axis < 0 or values.shape[axis] == 1:
        return [values] * len(join.operator.inputs)
    return np.split(values, _ends(editor, join), axis=axis)


def _changes_nothing(operator: Operator, position: int, values: Array) -> bool:
    neutral = 0.0 if operator.name in ("ADD", "SUB") else 1.0
    turned = position == 0 and operator.name in ("SUB", "DIV")
    return (
        bool(np.all(values == neutral)) and not turned and operator.options.get("fused_activation_function") == "NONE"
    )
