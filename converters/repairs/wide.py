"""What the 16-bit quantiser refuses, in operators that it takes: HARD_SWISH, squared differences and selected masks."""

from __future__ import annotations

import numpy as np

from ...flatbuffer import read_model
from ...flatbuffer.model import Operator
from ..outputs import Samples
from .change import Change
from .editing import Editor
from .masks import MASKING, masked_softmaxes
from .spelling import New, spelled

_SELECTING = ("SELECT", "SELECT_V2")


def spelled_hard_swish(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with ``x * (relu6(x + 3) / 6)`` for each HARD_SWISH (Howard et al. 2019); None without any.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Not looked at.
    """
    from ai_edge_litert import schema_py_generated as schema

    def spell(editor: Editor, operator: Operator, new: New) -> None:
        taken = operator.inputs[0]
        three, sixth = (editor.constant(np.float32(value), new[1]) for value in (3, 1 / 6))
        relu6 = schema.ActivationFunctionType.RELU6
        gate = editor.add(operator, "ADD", [taken, three], new, fusedActivationFunction=relu6)
        gate = editor.add(operator, "MUL", [gate, sixth], new)
        editor.add(operator, "MUL", [taken, gate], operator.outputs[0])

    return spelled(content, "HARD_SWISH", "hard-swish", "ADD and MUL, for 16 bits", spell)


def spelled_differences(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with ``(x - y) * (x - y)`` for each SQUARED_DIFFERENCE; None without any.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Not looked at.
    """

    def spell(editor: Editor, operator: Operator, new: New) -> None:
        difference = editor.add(operator, "SUB", operator.inputs, new)
        editor.add(operator, "MUL", [difference] * 2, operator.outputs[0])

    return spelled(content, "SQUARED_DIFFERENCE", "difference", "SUB and MUL, for 16 bits", spell)


def added_masks(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with constant masks added to the scores of a softmax that were selected instead of them.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Not looked at.
    """
    editor = Editor(content)
    names = []
    for item in masked_softmaxes(read_model(content)):
        for operator, position in item.constants:
            condition = editor.graph.tensors[operator.inputs[0]].data()
            if operator.name not in _SELECTING or condition is None or operator.index in editor.dropped:
                continue
            values, result = np.asarray(editor.value(operator.inputs[position])), operator.outputs[0]
            masked, shape = condition if position == 1 else ~condition, editor.graph.tensors[result].shape
            scores = operator.inputs[3 - position]
            if editor.graph.tensors[scores].shape != shape or not np.all(values <= -MASKING):
                continue
            name = editor.graph.tensors[result].name
            addend = editor.constant(np.where(masked, values, np.float32(0)).astype(np.float32), name)
            editor.add(operator, "ADD", [scores, addend], result)
            editor.drop(operator)
            names.append(editor.graph.tensors[item.softmax.outputs[0]].name)
    if not names:
        return None
    return Change("select", editor.content(), tuple(names), "masks added to the scores, not selected, for 16 bits")
