"""Keep the cell state of a fused int8 LSTM in the range that its kernel can compute with.

The kernel takes tanh of the 16-bit cell state in fixed point with ``15 + log2(scale)`` integer bits (`ApplyTanh` in
TFLite's kernels/internal/portable_tensor_utils), which has no form for a negative number of them. The converter chooses
the scale as the power of two that fits the measured range, so a cell whose state stays below 1/2 gets a smaller scale
than 2**-15 and comes out as noise. Stating a range of at least [-1, 1] gives 2**-15, the finest that works.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..flatbuffer import read_model
from .rewrite import packed, unpacked

_LSTMS = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "LSTM")
_CELL_STATE = 19  # place among the operator's inputs
_LEAST = 1.0


def widened_cell_states(annotated: bytes) -> bytes:
    """Return the float file, annotated with ranges, with those of LSTM cell states at least [-1, 1]."""
    cells = {
        operator.inputs[_CELL_STATE]
        for operator in read_model(annotated).main.operators
        if operator.name in _LSTMS and len(operator.inputs) > _CELL_STATE
    }
    if not cells:
        return annotated
    tree: Any = unpacked(annotated)
    for index in cells:
        quantization = tree.subgraphs[0].tensors[index].quantization
        if quantization is None or quantization.min is None or not len(quantization.min):
            continue
        if max(abs(quantization.min[0]), abs(quantization.max[0])) < _LEAST:
            quantization.min = np.array([-_LEAST], dtype=np.float32)
            quantization.max = np.array([_LEAST], dtype=np.float32)
    return packed(tree)
