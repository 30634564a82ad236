"""Find the norms that a float file spells out in plain operators."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...data.dataset import Array
from ...flatbuffer.model import Operator
from .editing import Editor
from .polynomials import CONSTANT, MEAN, NORMED, ROOT, SHIFT, Polynomial, X, polynomials


@dataclass(frozen=True)
class Norm:
    """``gain * (x - mean) / sqrt(mean of (x - mean)^2 + epsilon) + offset``; an RMS norm has no mean.

    Attributes:
        root: The RSQRT.
        taken: Index of ``x``.
        mean: Index of the mean; None for an RMS norm.
        shape: Of ``x`` and the result.
        axes: What is averaged over.
        epsilon: What is added to the variance.
        last: The operator that gives the result.
        gain: A constant that broadcasts to `shape`.
        offset: The same; None for nothing.
        centred: Whether the mean is subtracted before anything is multiplied.
    """

    root: Operator
    taken: int
    mean: int | None
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    epsilon: float
    last: Operator
    gain: Array
    offset: Array | None
    centred: bool

    @property
    def kept(self) -> tuple[int, ...]:
        """The axes that are not averaged over."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.axes)

    @property
    def count(self) -> int:
        """How many values are averaged over."""
        return math.prod(self.shape[axis] for axis in self.axes)

    def rows(self, values: Array) -> Array:
        """Return ``x`` of all samples as (rows, `count`), of ``x`` in groups along the first axis."""
        grouped = values.reshape(-1, *self.shape)
        order = (0, *(axis + 1 for axis in (*self.kept, *self.axes)))
        return grouped.transpose(order).reshape(-1, self.count)

    def centred_rows(self, rows: Array) -> Array:
        """Return ``x - mean`` of what `rows` gave; of an RMS norm the same."""
        return rows if self.mean is None else rows - rows.mean(axis=-1, keepdims=True)


@dataclass(frozen=True)
class _Variance:
    """What an RSQRT takes, epsilon apart."""

    taken: int
    mean: int | None
    axes: tuple[int, ...]


def norms(editor: Editor) -> Iterator[Norm]:
    """Yield the norms of a float file in the order of their RSQRT."""
    for root in editor.graph.operators:
        if root.name != "RSQRT":
            continue
        index, epsilon = _without_epsilon(editor, root.inputs[0])
        variance = _variance(editor, index)
        if variance is not None and (norm := _norm(editor, root, variance, epsilon)) is not None:
            yield norm


def _without_epsilon(editor: Editor, index: int) -> tuple[int, float]:
    maker = editor.makers.get(index)
    if maker is not None and maker.name == "ADD":
        for one, other in (maker.inputs, maker.inputs[::-1]):
            values = editor.value(other)
            if values is not None and values.size == 1 and float(values.item()) >= 0:
                return one, float(values.item())
    return index, 0.0


def _variance(editor: Editor, index: int) -> _Variance | None:
    """Read ``mean((x - mean(x))^2)``, ``mean(x^2) - mean(x)^2`` or ``mean(x^2)``; None for anything else."""
    maker = editor.makers.get(index)
    if maker is not None and maker.name == "SUB":
        squares, mean = _variance(editor, maker.inputs[0]), _squared(editor, maker.inputs[1])
        known = squares is not None and mean is not None and _is_mean(editor, mean, squares.taken, squares.axes)
        return _Variance(squares.taken, mean, squares.axes) if squares is not None and known else None
    axes = _mean_axes(editor, index)
    if maker is None or axes is None:
        return None
    inner = editor.makers.get(maker.inputs[0])
    if inner is not None and inner.name == "SQUARED_DIFFERENCE":
        return _centred(editor, inner.inputs, axes)
    taken = _squared(editor, maker.inputs[0])
    if taken is None:
        return None
    difference = editor.makers.get(taken)
    if difference is not None and difference.name == "SUB":
        found = _centred(editor, difference.inputs, axes)
        if found is not None:
            return found
    return _Variance(taken, None, axes)


def _centred(editor: Editor, pair: tuple[int, ...], axes: tuple[int, ...]) -> _Variance | None:
    for taken, mean in (pair, pair[::-1]):
        if _is_mean(editor, mean, taken, axes):
            return _Variance(taken, mean, axes)
    return None


def _squared(editor: Editor, index: int) -> int | None:
    maker = editor.makers.get(index)
    if maker is None or maker.options.get("fused_activation_function", "NONE") != "NONE":
        return None
    square = maker.name == "SQUARE" or (maker.name == "MUL" and maker.inputs[0] == maker.inputs[1])
    return maker.inputs[0] if square else None


def _is_mean(editor: Editor, index: int, of: int, axes: tuple[int, ...]) -> bool:
    return index in editor.makers and editor.makers[index].inputs[0] == of and _mean_axes(editor, index) == axes


def _mean_axes(editor: Editor, index: int) -> tuple[int, ...] | None:
    """Return what a MEAN averages over, where its result lines up with its input; None for anything else."""
    maker = editor.makers.get(index)
    if maker is None or maker.name != "MEAN":
        return None
    found, rank = editor.graph.tensors[maker.inputs[1]].data(), len(editor.graph.tensors[maker.inputs[0]].shape)
    if found is None:
        return None
    axes = tuple(sorted(int(axis) % rank for axis in found.ravel()))
    lined_up = maker.options.get("keep_dims") or axes == tuple(range(len(axes)))
    return axes if lined_up and axes else None


def _norm(editor: Editor, root: Operator, variance: _Variance, epsilon: float) -> Norm | None:
    known: dict[int, Polynomial] = {variance.taken: {(X,): 1.0}, root.outputs[0]: {(ROOT,): 1.0}}
    if variance.mean is not None:
        known[variance.mean] = {(MEAN,): 1.0}
    found = polynomials(editor, known)
    shape = editor.graph.tensors[variance.taken].shape
    results = [
        index
        for index, polynomial in found.items()
        if _is_result(polynomial, variance) and editor.graph.tensors[index].shape == shape
    ]
    if not results:
        return None
    last = results[0]
    while (user := editor.only_user(last)) is not None and user.outputs[0] in results:
        last = user.outputs[0]
    return Norm(
        root=root,
        taken=variance.taken,
        mean=variance.mean,
        shape=shape,
        axes=variance.axes,
        epsilon=epsilon,
        last=editor.makers[last],
        gain=np.asarray(found[last][NORMED]),
        offset=np.asarray(found[last][CONSTANT]) if CONSTANT in found[last] else None,
        centred=not any(SHIFT in item and NORMED not in item for item in found.values()),
    )


def _is_result(polynomial: Mapping[tuple[str, ...], Array], variance: _Variance) -> bool:
    wanted = {NORMED} if variance.mean is None else {NORMED, SHIFT}
    if set(polynomial) - {CONSTANT} != wanted:
        return False
    return variance.mean is None or bool(np.array_equal(polynomial[NORMED], -polynomial[SHIFT]))
