"""Norms of plain operators, rewritten where 8 bits lose them.

A norm takes ``x`` to ``gain * (x - mean) / sqrt(variance + epsilon) + offset``; code of one's own, RMS norms and older
exports spell it out in MEAN, SQUARED_DIFFERENCE, RSQRT and MUL. Squares and variances span twice as many bits as the
values: where the variance differs from row to row, those of quiet rows fall below one step. L2_NORMALIZATION sums
squares in 32 bits: short rows go through its unit vectors (`norm_units`), long ones are multiplied by what it says of
their lengths (`norm_lengths`). Rows of even variance stay as they are written.
"""

from __future__ import annotations

import numpy as np

from ...data.dataset import Array
from ..outputs import Samples, file_tensors
from .change import Change
from .editing import Editor
from .norm_estimates import WORTH_DB, ratio, rounded
from .norm_lengths import best_beside, through_lengths
from .norm_patterns import Norm, norms
from .norm_rows import into_result
from .norm_units import best_way, by_units, through_units

_GAIN_DB = 3.0  # in an estimate that knows minimum and maximum only
_FLATTERED_DB = 28.0  # under which the estimate of squares is too high by more: any gain is one there
_NO_EPSILON = 1e-6  # of the variance: float32 hardly tells it from none


def robust_norms(content: bytes, samples: Samples) -> Change | None:
    """Return the float file with norms that 8 bits keep; None where there is nothing to gain.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Input name (of its signature) -> samples that say what 8 bits would lose.
    """
    editor = Editor(content)
    found, tensors = list(norms(editor)), editor.graph.tensors
    values = file_tensors(content, [tensors[norm.taken] for norm in found], samples) if found else {}
    names, gains = [], []
    for norm in found:
        given = norm.rows(values[norm.taken].astype(np.float64))
        rows = norm.centred_rows(given)
        variance = np.mean(rows**2, axis=-1, keepdims=True)
        if not (variance + norm.epsilon).all():
            continue  # it gives no numbers for some rows
        by_root, by_unit = _by_root(rows, variance, norm.epsilon), by_units(rows, norm.epsilon)
        by_length, beside = best_beside(norm, given, rows)
        kept = max(by_unit, by_length)
        if kept - by_root >= (_GAIN_DB if by_root >= _FLATTERED_DB else 0):
            of_units, way = best_way(norm, given, rows)
            if by_length - of_units >= WORTH_DB:
                through_lengths(editor, norm, beside)
            else:
                epsilon = norm.epsilon > _NO_EPSILON * float(variance.min())
                through_units(editor, norm, way, epsilon=epsilon)
        elif not norm.centred:
            _centre(editor, norm)
        else:
            continue
        names.append(tensors[norm.last.outputs[0]].name)
        gains.append((by_root, max(kept, by_root)))
    if not names:
        return None
    before, after = min(gains)
    what = f"{len(names)} norm(s) of plain operators rewritten for 8 bits: about {after:.0f} dB instead of {before:.0f}"
    return Change("norm", editor.content(), tuple(names), what)


def _by_root(rows: Array, variance: Array, epsilon: float) -> float:
    """Estimate the signal to noise, in dB, of a norm by squares, mean and RSQRT in 8 bits."""
    root = 1 / np.sqrt(variance + epsilon)
    centred = rounded(rows, rows)
    squares = rounded(centred**2, rows**2)
    seen = rounded(np.mean(squares, axis=-1, keepdims=True), variance)
    inverse = rounded(1 / np.sqrt(np.maximum(seen + epsilon, np.finfo(float).tiny)), root)
    return ratio(rows * root, rounded(centred * inverse, rows * root))


def _centre(editor: Editor, norm: Norm) -> None:
    """Write ``(x - mean) * (gain * root) + offset``."""
    place, tensors = norm.last, editor.graph.tensors
    name, root = tensors[norm.last.outputs[0]].name, norm.root.outputs[0]
    index = norm.taken if norm.mean is None else editor.add(place, "SUB", [norm.taken, norm.mean], (norm.shape, name))
    if np.any(norm.gain != 1):
        gain = editor.constant(norm.gain.astype(np.float32), name)
        shape = np.broadcast_shapes(tensors[root].shape, norm.gain.shape)
        root = editor.add(place, "MUL", [root, gain], (shape, name))
    into_result(editor, norm, index, root)
