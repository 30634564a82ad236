"""The rows of a norm while it is rewritten: turned so that what is averaged over comes last, and back."""

from __future__ import annotations

import math

import numpy as np

from ...data.dataset import Array
from .editing import Editor
from .norm_patterns import Norm

_L2_RANK = 4


class Rows:
    """Writes operators on the rows of one norm, in front of where its last operator stood.

    Attributes:
        shape: Of the rows, as they are while operators are written; what is averaged over is the last axis.
        place: The norm's last operator.
        name: What the new tensors are called after.
    """

    def __init__(self, editor: Editor, norm: Norm) -> None:
        """Look whether the rows have to be turned."""
        self.place, self._norm, self._editor = norm.last, norm, editor
        self.name = editor.graph.tensors[norm.last.outputs[0]].name
        self._order = (*norm.kept, *norm.axes)
        self._plain = (
            self._order == tuple(range(len(norm.shape))) and len(norm.axes) == 1 and len(norm.shape) <= _L2_RANK
        )
        self.shape = norm.shape if self._plain else (math.prod(norm.shape) // norm.count, norm.count)

    def turned(self, index: int) -> int:
        """Write the turn of a tensor of the norm's shape."""
        if self._plain:
            return index
        shape = tuple(self._norm.shape[axis] for axis in self._order)
        index = self._editor.transpose(self.place, index, self._order, (shape, self.name))
        return self._editor.reshape(self.place, index, (self.shape, self.name))

    def back(self, index: int) -> int:
        """Write the turn back of rows."""
        if self._plain:
            return index
        shape = tuple(self._norm.shape[axis] for axis in self._order)
        index = self._editor.reshape(self.place, index, (shape, self.name))
        return self._editor.transpose(self.place, index, tuple(np.argsort(self._order)), (self._norm.shape, self.name))

    def write(self, name: str, *inputs: int, last: int | None = None, **options: object) -> int:
        """Write an operator whose result has `last` elements a row; by default as many as rows have."""
        shape = (*self.shape[:-1], self.shape[-1] if last is None else last)
        return self._editor.add(self.place, name, inputs, (shape, self.name), **options)

    def like_root(self, index: int) -> int:
        """Write the norm's own RSQRT of one element a row."""
        return self._editor.copy(self.place, [index], ((*self.shape[:-1], 1), self.name), self._norm.root)

    def number(self, value: float) -> int:
        """Add a constant."""
        return self._editor.constant(np.asarray(value, np.float32), self.name)

    def element(self, value: float) -> int:
        """Add a constant that is one element of each row."""
        return self._editor.constant(np.full((*self.shape[:-1], 1), value, np.float32), self.name)

    def mean(self, index: int) -> int:
        """Write the mean of each row."""
        axis = self._editor.constant(np.array([len(self.shape) - 1], np.int32), self.name)
        return self.write("MEAN", index, axis, last=1, keepDims=True)

    def units(self, index: int, more: int | None) -> int:
        """Write rows divided by their lengths; with `more`, which is one more element of each, rows that have it."""
        if more is None:
            return self.write("L2_NORMALIZATION", index)
        longer = self.shape[-1] + 1
        index = self.write("CONCATENATION", index, more, last=longer, axis=len(self.shape) - 1)
        return self.write("L2_NORMALIZATION", index, last=longer)

    def row(self, index: int) -> int:
        """Write rows without the one more element."""
        return self._cut(index, 0, self.shape[-1])

    def more(self, index: int) -> int:
        """Write the one more element of rows."""
        return self._cut(index, self.shape[-1], 1)

    def finish(self, index: int, gain: Array | float) -> None:
        """Write ``gain * (the norm's gain) * rows + (its offset)`` into what the norm gives."""
        factor = np.asarray(self._norm.gain * gain, np.float32)
        into_result(self._editor, self._norm, self.back(index), self._editor.constant(factor, self.name))

    def _cut(self, index: int, start: int, count: int) -> int:
        begin = np.array([*[0] * (len(self.shape) - 1), start], np.int32)
        size = np.array([*self.shape[:-1], count], np.int32)
        constants = (self._editor.constant(values, self.name) for values in (begin, size))
        return self.write("SLICE", index, *constants, last=count)


def into_result(editor: Editor, norm: Norm, index: int, factor: int) -> None:
    """Write ``tensor * factor + offset`` into what the norm gives."""
    place = norm.last
    result, name = place.outputs[0], editor.graph.tensors[place.outputs[0]].name
    # What adds nothing is left out: the quantiser would stumble over it.
    offset = norm.offset if norm.offset is not None and np.any(norm.offset) else None
    index = editor.add(place, "MUL", [index, factor], result if offset is None else (norm.shape, name))
    if offset is not None:
        editor.add(place, "ADD", [index, editor.constant(offset.astype(np.float32), name)], result)
    editor.drop(place)
