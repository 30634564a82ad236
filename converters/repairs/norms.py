"""Norms of plain operators, rewritten where 8 bits lose them: by L2_NORMALIZATION, or with the mean taken off first.

A norm takes ``x`` to ``gain * (x - mean) / sqrt(variance + epsilon) + offset``; code of one's own, RMS norms and older
exports spell it out in MEAN, SQUARED_DIFFERENCE, RSQRT and MUL. Squares and variances span twice as many bits as the
values: where the variance differs from row to row, those of quiet rows fall below one step. L2_NORMALIZATION sums
squares in 32 bits, and ``x / sqrt(mean(x^2)) = sqrt(n) * x / |x|`` (Ba et al. 2016, eq. 4; Zhang and Sennrich 2019,
eq. 4). An epsilon that counts is one more element of the row, ``sqrt(n * epsilon)``. Its steps are 1/128 whatever the
row's length, so that long rows of even variance keep the longer way.

``x - mean`` has one scale for loud and quiet rows, as ``x`` has. Where that costs more than another L2_NORMALIZATION
does, the rows are divided by their lengths first: the norm of ``x / |x|`` is that of ``x``. And what is left of the
mean in a quiet row, less than a step of that scale, is a share of its length: behind L2_NORMALIZATION it is seen and
taken off. In float it is zero there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...data.dataset import Array
from ...flatbuffer.model import Operator
from ..outputs import Samples, file_tensors
from .change import Change
from .editing import Editor
from .norm_patterns import Norm, norms

_GAIN_DB = 3.0  # in an estimate that knows minimum and maximum only
_FLATTERED_DB = 28.0  # under which the estimate of squares is too high by more: any gain is one there
_NO_EPSILON = 1e-6  # of the variance: float32 hardly tells it from none
_L2_STEPS = 128  # that L2_NORMALIZATION divides 1 into
_L2_RANK = 4
_WORTH_DB = 0.3  # gained by more operators
_SPARE = 1.1  # for values larger than those of the samples


class Way(NamedTuple):
    """What is done besides an L2_NORMALIZATION of rows less their mean.

    Attributes:
        first: Another L2_NORMALIZATION, of the rows with their mean.
        again: How large a mean may be left behind it, to be taken off, and how large what then remains; None to let
            it be.
    """

    first: bool = False
    again: tuple[float, float] | None = None


_WAYS = ((False, False), (False, True), (True, False), (True, True))  # first, again


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
        by_root, by_l2 = _by_root(rows, variance, norm.epsilon), _by_l2(rows, rows, norm.epsilon)
        if by_l2 - by_root >= (_GAIN_DB if by_root >= _FLATTERED_DB else 0):
            epsilon = norm.epsilon > _NO_EPSILON * float(variance.min())
            _through_l2(editor, norm, _best_way(norm, given, rows), epsilon=epsilon)
        elif not norm.centred:
            _centre(editor, norm)
        else:
            continue
        names.append(tensors[norm.last.outputs[0]].name)
        gains.append((by_root, max(by_l2, by_root)))
    if not names:
        return None
    before, after = min(gains)
    what = f"{len(names)} norm(s) of plain operators rewritten for 8 bits: about {after:.0f} dB instead of {before:.0f}"
    return Change("norm", editor.content(), tuple(names), what)


def _by_root(rows: Array, variance: Array, epsilon: float) -> float:
    """Estimate the signal to noise, in dB, of a norm by squares, mean and RSQRT in 8 bits."""
    root = 1 / np.sqrt(variance + epsilon)
    centred = _rounded(rows, rows)
    squares = _rounded(centred**2, rows**2)
    seen = _rounded(np.mean(squares, axis=-1, keepdims=True), variance)
    return _ratio(rows * root, _rounded(centred * _rounded(1 / np.sqrt(seen + epsilon), root), rows * root))


def _by_l2(rows: Array, seen: Array, epsilon: float) -> float:
    """Estimate the same of a norm by L2_NORMALIZATION of `seen`, which are the rows in 8 bits."""
    return _of_units(rows, _units(_rounded(seen, seen), math.sqrt(rows.shape[-1] * epsilon))[0], epsilon)


def _best_way(norm: Norm, given: Array, rows: Array) -> Way:
    """Return the way that keeps the most of the norm of `given`; the shortest of those that keep about as much."""
    best, most = Way(), -math.inf
    for first, again in _WAYS if norm.mean is not None else ():
        kept, reaches = _by_way(norm, given, rows, first=first, again=again)
        if kept - most >= _WORTH_DB:
            best, most = Way(first, reaches if again else None), kept
    return best


def _by_way(norm: Norm, given: Array, rows: Array, *, first: bool, again: bool) -> tuple[float, tuple[float, float]]:
    """Estimate the signal to noise of a norm of what `given` is in 8 bits, and how far `Way.again` reaches."""
    seen, more = _rounded(given, given), np.asarray(math.sqrt(norm.count * norm.epsilon))
    if first:
        seen, more = _units(seen, more)
    seen = _less_mean(seen)
    units, _ = _units(seen, _rounded(more, seen))
    mean = units.mean(axis=-1, keepdims=True)
    reaches = _SPARE * float(np.abs(mean).max()), _SPARE * float(np.abs(units - mean).max())
    return _of_units(rows, _less_mean(units) if again else units, norm.epsilon), reaches


def _less_mean(values: Array) -> Array:
    mean = values.mean(axis=-1, keepdims=True)
    centred = values - _rounded(mean, mean)
    return _rounded(centred, centred)


def _of_units(rows: Array, units: Array, epsilon: float) -> float:
    wanted = rows / np.sqrt(np.mean(rows**2, axis=-1, keepdims=True) + epsilon)
    return _ratio(wanted, _rounded(units * math.sqrt(rows.shape[-1]), wanted))


def _units(rows: Array, more: Array | float) -> tuple[Array, Array]:
    """Return what L2_NORMALIZATION makes of rows with one more element, and of that."""
    length = np.maximum(np.sqrt(np.sum(rows**2, axis=-1, keepdims=True) + np.square(more)), np.finfo(float).tiny)
    return np.round(rows / length * _L2_STEPS) / _L2_STEPS, np.round(more / length * _L2_STEPS) / _L2_STEPS


def _rounded(values: Array, like: Array) -> Array:
    """Round to 255 steps that span what `like` does."""
    low, high = min(0.0, float(like.min())), max(0.0, float(like.max()))
    step = (high - low) / 255 or 1.0
    return np.asarray(np.clip(np.round(values / step), round(low / step), round(high / step)) * step)


def _ratio(wanted: Array, got: Array) -> float:
    return float(10 * np.log10(np.sum(wanted**2) / max(float(np.sum((wanted - got) ** 2)), np.finfo(float).tiny)))


def _through_l2(editor: Editor, norm: Norm, way: Way, *, epsilon: bool) -> None:
    place, name, shape = norm.last, editor.graph.tensors[norm.last.outputs[0]].name, norm.shape
    order = (*norm.kept, *norm.axes)
    turned, rows = tuple(shape[axis] for axis in order), (math.prod(shape) // norm.count, norm.count)
    plain = order == tuple(range(len(shape))) and len(norm.axes) == 1 and len(shape) <= _L2_RANK
    index = norm.taken
    if norm.mean is not None and not way.first:
        index = editor.add(place, "SUB", [index, norm.mean], (shape, name))
    if not plain:
        index = editor.transpose(place, index, order, (turned, name))
        index = editor.reshape(place, index, (rows, name))
    row_shape = shape if plain else rows
    more = None
    if epsilon:
        each = np.full((*row_shape[:-1], 1), math.sqrt(norm.count * norm.epsilon), np.float32)
        more = editor.constant(each, name)
    if way.first:
        longer = _unit(editor, place, index, more, row_shape)
        index = longer if more is None else _cut(editor, place, longer, row_shape)
        index = _without_mean(editor, place, index, row_shape)
        more = None if more is None else _cut(editor, place, longer, (*row_shape[:-1], 1), norm.count)
    index = _unit(editor, place, index, more, row_shape)
    index = index if more is None else _cut(editor, place, index, row_shape)
    index = index if way.again is None else _without_mean(editor, place, index, row_shape, way.again)
    if not plain:
        index = editor.reshape(place, index, (turned, name))
        index = editor.transpose(place, index, tuple(np.argsort(order)), (shape, name))
    gain = editor.constant((norm.gain * math.sqrt(norm.count)).astype(np.float32), name)
    _finish(editor, norm, index, gain)


def _unit(editor: Editor, place: Operator, index: int, more: int | None, shape: tuple[int, ...]) -> int:
    """Write rows divided by their lengths; with `more`, which is one more element of each, rows that have it."""
    name = editor.graph.tensors[place.outputs[0]].name
    if more is None:
        return editor.add(place, "L2_NORMALIZATION", [index], (shape, name))
    longer = (*shape[:-1], shape[-1] + 1)
    index = editor.add(place, "CONCATENATION", [index, more], (longer, name), axis=len(longer) - 1)
    return editor.add(place, "L2_NORMALIZATION", [index], (longer, name))


def _without_mean(
    editor: Editor, place: Operator, index: int, shape: tuple[int, ...], reaches: tuple[float, ...] = ()
) -> int:
    """Write rows less their mean; `reaches` are the ranges of the mean and the rest, where float does not show them."""
    name = editor.graph.tensors[place.outputs[0]].name
    axis = editor.constant(np.array([len(shape) - 1], np.int32), name)
    mean = editor.add(place, "MEAN", [index, axis], ((*shape[:-1], 1), name), keepDims=True)
    rest = editor.add(place, "SUB", [index, mean], (shape, name))
    for made, reach in zip((mean, rest), reaches, strict=False):
        editor.bound(made, reach)
    return rest


def _cut(editor: Editor, place: Operator, index: int, shape: tuple[int, ...], start: int = 0) -> int:
    """Write a part of each row, of a shape, from element `start` on."""
    name = editor.graph.tensors[place.outputs[0]].name
    begin = editor.constant(np.array([*[0] * (len(shape) - 1), start], np.int32), name)
    return editor.add(place, "SLICE", [index, begin, editor.constant(np.array(shape, np.int32), name)], (shape, name))


def _centre(editor: Editor, norm: Norm) -> None:
    """Write ``(x - mean) * (gain * root) + offset``."""
    place, tensors = norm.last, editor.graph.tensors
    name, root = tensors[norm.last.outputs[0]].name, norm.root.outputs[0]
    index = norm.taken if norm.mean is None else editor.add(place, "SUB", [norm.taken, norm.mean], (norm.shape, name))
    if np.any(norm.gain != 1):
        gain = editor.constant(norm.gain.astype(np.float32), name)
        shape = np.broadcast_shapes(tensors[root].shape, norm.gain.shape)
        root = editor.add(place, "MUL", [root, gain], (shape, name))
    _finish(editor, norm, index, root)


def _finish(editor: Editor, norm: Norm, index: int, factor: int) -> None:
    """Write ``tensor * factor + offset`` into what the norm gives."""
    result = norm.last.outputs[0]
    name = editor.graph.tensors[result].name
    # What adds nothing is left out: the quantiser would stumble over it.
    offset = norm.offset if norm.offset is not None and np.any(norm.offset) else None
    index = editor.add(norm.last, "MUL", [index, factor], result if offset is None else (norm.shape, name))
    if offset is not None:
        editor.add(norm.last, "ADD", [index, editor.constant(offset.astype(np.float32), name)], result)
    editor.drop(norm.last)
