"""Activations with an exponential, in a form whose exponential ends at 1.

ELU has no integer operator that the quantiser knows; SELU computes ``exp(x)`` of all x and selects, softplus (and mish,
which contains it) is ``log(exp(x) + 1)``: there the largest x sets a scale at which all others are zero.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...flatbuffer.model import Operator
from ..outputs import Samples
from .change import Change
from .editing import AFFINE, Editor
from .spelling import New, spelled


def bounded_elu(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with ``max(x, 0) + (exp(min(x, 0)) - 1)`` for each ELU (Clevert et al. 2015); None without.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Not looked at.
    """

    def spell(editor: Editor, operator: Operator, new: New) -> None:
        one = editor.constant(np.float32(1), new[1])
        power = editor.add(operator, "EXP", [_negative(editor, operator, operator.inputs[0], new)], new)
        falling = editor.add(operator, "SUB", [power, one], new)
        editor.add(
            operator, "ADD", [_positive(editor, operator, operator.inputs[0], new), falling], operator.outputs[0]
        )

    return spelled(content, "ELU", "elu", "EXP and ADD", spell)


def bounded_softplus(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with ``max(x, 0) + log(exp(-|x|) + 1)`` for each ``log(exp(x) + 1)``; None without any.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Not looked at.
    """

    given: dict[int, int] = {}

    def spell(editor: Editor, operator: Operator, new: New) -> None:
        x = given[operator.index]
        one, minus = (editor.constant(np.float32(value), new[1]) for value in (1, -1))
        size = editor.add(operator, "MUL", [editor.add(operator, "ABS", [x], new), minus], new)
        rest = editor.add(operator, "ADD", [editor.add(operator, "EXP", [size], new), one], new)
        rest = editor.copy(operator, [rest], new)
        editor.add(operator, "ADD", [_positive(editor, operator, x, new), rest], operator.outputs[0])

    def chosen(editor: Editor, operator: Operator) -> bool:
        power = _softplus(editor, operator)
        given.update({} if power is None else {operator.index: power.inputs[0]})
        return power is not None

    return spelled(content, "LOG", "softplus", "a softplus whose EXP ends at 1", spell, chosen)


def bounded_powers(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with ``exp(min(x, 0))`` for each ``exp(x)`` that is selected where x <= 0; None without.

    Such is SELU (Klambauer et al. 2017), and own code with ``where(x > 0, ...)``.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Not looked at.
    """

    def spell(editor: Editor, operator: Operator, new: New) -> None:
        editor.copy(operator, [_negative(editor, operator, operator.inputs[0], new)], operator.outputs[0])

    def chosen(editor: Editor, operator: Operator) -> bool:
        return any(power.index == operator.index for power in _selected_powers(editor))

    return spelled(content, "EXP", "exponential", "EXP of what is negative", spell, chosen)


# A MINIMUM or MAXIMUM would give its operand the scale of its result, a RELU be computed by a second convolution, and
# scales of an ADD of 0 lie too far apart for XNNPACK.
def _positive(editor: Editor, place: Operator, taken: int, new: New, times: float = 1) -> int:
    """Add ``max(times x, 0)``, with a scale of its own."""
    from ai_edge_litert import schema_py_generated as schema

    factor = editor.constant(np.float32(times), new[1])
    return editor.add(place, "MUL", [taken, factor], new, fusedActivationFunction=schema.ActivationFunctionType.RELU)


def _negative(editor: Editor, place: Operator, taken: int, new: New) -> int:
    """Add ``min(x, 0)``, with a scale of its own."""
    minus = editor.constant(np.float32(-1), new[1])
    return editor.add(place, "MUL", [_positive(editor, place, taken, new, -1), minus], new)


def _softplus(editor: Editor, log: Operator) -> Operator | None:
    """Return the EXP of which a LOG makes a softplus."""
    add = editor.makers.get(log.inputs[0])
    if add is None or add.name != "ADD" or editor.only_user(add.outputs[0]) is None:
        return None
    for index, other in (add.inputs, add.inputs[::-1]):
        power = editor.makers.get(index)
        if power is not None and power.name == "EXP" and _is(editor, other, 1) and editor.only_user(index) is not None:
            return power
    return None


def _selected_powers(editor: Editor) -> Iterator[Operator]:
    for select in editor.graph.operators:
        if select.name not in ("SELECT", "SELECT_V2"):
            continue
        positive = editor.makers.get(select.inputs[0])
        if (
            positive is None
            or positive.name not in ("GREATER", "GREATER_EQUAL")
            or not _is(editor, positive.inputs[1], 0)
        ):
            continue
        power = _behind(editor, select.inputs[2])
        if power is not None and power.inputs[0] == positive.inputs[0]:
            yield power


def _behind(editor: Editor, index: int) -> Operator | None:
    """Return the EXP that a tensor is, but for constants that are added and multiplied; None for another."""
    while editor.only_user(index) is not None and (maker := editor.makers.get(index)) is not None:
        if maker.name == "EXP":
            return maker
        moving = [i for i in maker.inputs if editor.value(i) is None]
        if maker.name not in AFFINE or len(moving) != 1:
            return None
        index = moving[0]
    return None


def _is(editor: Editor, index: int, number: float) -> bool:
    value = editor.value(index)
    return value is not None and bool(np.all(value == number))
