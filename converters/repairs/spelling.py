"""Operators that have no integer form, in those that have one and compute the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...flatbuffer import read_model
from ...flatbuffer.model import Operator
from ..outputs import Samples
from .change import Change
from .editing import Editor

New = tuple[tuple[int, ...], str]  # shape and name of what an operator gives
Spell = Callable[[Editor, Operator, New], None]


def selected_casts(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with 1 or 0 selected for each CAST of truth values (masks of tf_keras); None without any.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Not looked at.
    """

    def spell(editor: Editor, operator: Operator, new: New) -> None:
        one, zero = (editor.constant(np.float32(value), new[1]) for value in (1, 0))
        editor.add(operator, "SELECT_V2", [operator.inputs[0], one, zero], operator.outputs[0])

    def of_truth(editor: Editor, operator: Operator) -> bool:
        kinds = [editor.graph.tensors[index].dtype for index in (operator.inputs[0], operator.outputs[0])]
        return kinds == ["bool", "float32"]

    return spelled(content, "CAST", "cast", "SELECT_V2", spell, of_truth)


def multiplied_squares(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with ``x * x`` for each SQUARE; None without any.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Not looked at.
    """

    def spell(editor: Editor, operator: Operator, new: New) -> None:
        editor.add(operator, "MUL", [operator.inputs[0]] * 2, operator.outputs[0])

    return spelled(content, "SQUARE", "square", "MUL", spell)


def spelled(
    content: bytes,
    name: str,
    kind: str,
    written: str,
    spell: Spell,
    chosen: Callable[[Editor, Operator], bool] = lambda editor, operator: True,
) -> Change | None:
    """Return the float file with operators of a name spelled by others; None without any.

    Args:
        content: A float .tflite file of one subgraph.
        name: Of the operators.
        kind: A word for the change.
        written: What they become, as a phrase.
        spell: Writes one in front of where it stood, given what it gives.
        chosen: Which of them.
    """
    if not any(operator.name == name for operator in read_model(content).main.operators):
        return None  # an editor unpacks the file
    editor = Editor(content)
    names = []
    for operator in editor.graph.operators:
        if operator.name == name and chosen(editor, operator):
            result = editor.graph.tensors[operator.outputs[0]]
            spell(editor, operator, (result.shape, result.name))
            editor.drop(operator)
            names.append(result.name)
    if not names:
        return None
    return Change(kind, editor.content(), tuple(names), f"{len(names)} {name} as {written}")
