"""Channels as numbered labels; labels that can only be removed together are tied, and some must not be removed at all.

Every position on a channel axis carries a label. A convolution's filters get labels of their own, an addition ties the
labels of its operands pairwise, a concatenation puts label arrays behind each other, a Flatten repeats them. A set of
tied labels is a *unit*: the smallest thing that can be removed, with all its filters, scales and weight rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]


class Reason(str, Enum):
    """Why channels stay: the closed list."""

    MODEL_INPUT = "model-input"
    MODEL_OUTPUT = "model-output"
    NORMALISED = "normalised-across-channels"
    SOFTMAX = "softmax-across-channels"
    LAYER = "layer-not-supported"
    OPERATION = "operation-not-supported"
    RESHAPE = "reshape-not-followed"
    AXES = "axes-mixed"
    CHANNELS_FIRST = "channels-first"
    SKIPPED = "in-skip-list"
    NARROW = "too-narrow"
    NO_SCORE = "criterion-has-no-score"


@dataclass(frozen=True)
class Block:
    """Why some labels stay, and the layer that is the cause."""

    reason: Reason
    detail: str


class LabelTable:
    """Hands out labels, ties them and freezes them; `units` numbers the result."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._blocks: list[tuple[Labels, Block]] = []

    def fresh(self, count: int) -> Labels:
        """Return `count` labels that nothing else has."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count, dtype=np.int64)

    def tie(self, first: Labels, second: Labels) -> None:
        """Make each label of `first` one with the label of `second` at the same position."""
        for one, other in np.unique(np.stack([first.ravel(), second.ravel()], axis=1), axis=0):
            low, high = sorted((self._root(int(one)), self._root(int(other))))
            self._parents[high] = low

    def freeze(self, labels: Labels, reason: Reason, detail: str, *, first: bool = False) -> None:
        """Forbid the removal of `labels`; the first block of a unit is the one that is told."""
        self._blocks.insert(0 if first else len(self._blocks), (np.unique(labels), Block(reason, detail)))

    def units(self) -> tuple[Labels, dict[int, Block]]:
        """Return the unit of each label, shape (labels,), numbered from 0, and the frozen units with their blocks."""
        roots = np.asarray([self._root(label) for label in range(len(self._parents))], dtype=np.int64)
        _, units = np.unique(roots, return_inverse=True)
        frozen: dict[int, Block] = {}
        for labels, block in self._blocks:
            for unit in np.unique(units[labels]):
                frozen.setdefault(int(unit), block)
        return units.astype(np.int64), frozen

    def _root(self, label: int) -> int:
        root = label
        while self._parents[root] != root:
            root = self._parents[root]
        while self._parents[label] != root:
            self._parents[label], label = root, self._parents[label]
        return root
