"""TANH of small values, by what has steps of its own: in 8 bits TANH's are 1/128, whatever it is given.

The candidates of an LSTM or GRU, and its states behind their TANH, may stay within a tenth of one: of such values TANH
keeps a few steps, and the noise adds up over all time steps. There ``tanh(x)`` is ``x (a + b x^2)`` within float
rounding, whose factor hardly moves and whose product has its own range.
"""

from __future__ import annotations

import numpy as np

from ...data.dataset import Array
from ...flatbuffer import read_model
from ...flatbuffer.model import Operator
from ..outputs import Samples, file_tensors
from .change import Change
from .editing import Editor
from .spelling import New, spelled

_SMALL = 0.15  # up to which two terms differ from tanh by 4e-6 of the largest value; 38 of TANH's 255 steps
_NODES = 64


def small_tanhs(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with ``x (a + b x^2)`` for each TANH of values that stay small; None without any.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Input name (of its signature) -> samples that say how large the values are.
    """
    graph = read_model(content).main
    taken = [graph.tensors[operator.inputs[0]] for operator in graph.operators if operator.name == "TANH"]
    values = file_tensors(content, taken, samples) if taken else {}
    reach = {index: float(np.max(np.abs(found), initial=0)) for index, found in values.items()}

    def small(editor: Editor, operator: Operator) -> bool:
        return 0 < reach[operator.inputs[0]] <= _SMALL

    def spell(editor: Editor, operator: Operator, new: New) -> None:
        index = operator.inputs[0]
        one, cubic = (editor.constant(np.float32(value), new[1]) for value in _terms(reach[index]))
        square = editor.add(operator, "MUL", [index, index], new)
        factor = editor.add(operator, "ADD", [editor.add(operator, "MUL", [square, cubic], new), one], new)
        editor.add(operator, "MUL", [index, factor], operator.outputs[0])

    return spelled(content, "TANH", "tanh", "MUL and ADD where values are so small that it has few steps", spell, small)


def _terms(reach: float) -> Array:
    """Return a and b with the least squares of ``tanh(x) - x (a + b x^2)`` at Chebyshev's nodes up to `reach`."""
    x = reach * np.cos(np.pi * (np.arange(_NODES) + 0.5) / (2 * _NODES))
    return np.asarray(np.linalg.lstsq(np.stack([x, x**3], axis=1), np.tanh(x), rcond=None)[0])
