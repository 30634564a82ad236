"""What a model costs, as a function of how many units each group keeps: MACs, parameters, bytes.

Every part of a cost is ``coefficient * inputs kept * outputs kept`` of some layer, so a table of coefficients and
counts gives the cost of thousands of candidate cuts at once.

============ =====================================================================================================
``macs``     Multiply-accumulates of one sample, of convolutions, depthwise and transposed ones included, and Dense
             layers; biases, activations and poolings are not counted (as in MLPerf Tiny).
``params``   All weights, moving statistics included: `model.count_params()`.
``bytes``    Of the weights in the int8 file: one a kernel weight, and 28 an output channel (bias 4, scale and zero
             point of the kernel 12, those of the bias 12); BatchNormalization is folded away.
============ =====================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...errors import UsageError
from .dependencies import ChannelMap, Group
from .labels import Labels
from .layer_rules import weight_names
from .tracker import LayerCut, Term

Measure = Literal["macs", "params", "bytes"]
MEASURES: tuple[Measure, ...] = ("macs", "params", "bytes")
Counts = npt.NDArray[np.int64]

_BYTES_PER_OUTPUT = 28


class CostModel:
    """One measure of a model's cost, for any number of units kept in each of `groups`.

    Args:
        channel_map: The model's channels.
        groups: The groups whose units may go; everything else is kept.
        measure: What to count.

    Raises:
        UsageError: MACs are asked for and the model has open shapes.
    """

    def __init__(self, channel_map: ChannelMap, groups: Sequence[Group], measure: Measure) -> None:
        if measure == "macs" and channel_map.open_step:
            raise UsageError(
                f"The MACs of layer {channel_map.open_step!r} cannot be counted: the model's input size is open; fix "
                "it in the Input layer, or use of='params' or of='bytes'."
            )
        terms = channel_map.macs if measure == "macs" else _weight_terms(channel_map, measure)
        self._group_of = np.full(channel_map.unit_count, -1, dtype=np.int64)
        for index, group in enumerate(groups):
            self._group_of[group.units] = index
        self._units = channel_map.units
        self._sizes = np.asarray([len(group.units) for group in groups], dtype=np.int64)
        self._coefficients = np.asarray([term.coefficient for term in terms], dtype=np.float64)
        self._first = self._factors([term.first for term in terms])
        self._second = self._factors([term.second for term in terms])
        self.total = float(self.of(self._sizes[np.newaxis])[0])

    def of(self, kept: Counts) -> npt.NDArray[np.float64]:
        """Return the cost of each row of `kept`, shape (candidates, groups): units kept in each group."""
        first = kept @ self._first[0].T + self._first[1]
        second = kept @ self._second[0].T + self._second[1]
        return np.asarray((first * second) @ self._coefficients)

    def _factors(self, columns: Sequence[Labels | None]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return positions a unit of each group, shape (terms, groups), and those always kept, shape (terms,)."""
        slopes = np.zeros((len(columns), len(self._sizes)))
        constants = np.ones(len(columns))
        for row, labels in enumerate(columns):
            if labels is None:
                continue
            owners = self._group_of[self._units[labels]]
            constants[row] = np.count_nonzero(owners < 0)
            positions = np.bincount(owners[owners >= 0], minlength=len(self._sizes))
            slopes[row] = positions / np.maximum(self._sizes, 1)
        return slopes, constants


def _weight_terms(channel_map: ChannelMap, measure: Measure) -> list[Term]:
    known = {id(cut.layer): cut for cut in channel_map.cuts}
    layers = {id(step.layer): step.layer for step in channel_map.graph.steps if step.layer is not None}
    terms = []
    for key, layer in layers.items():
        cut = known.get(key, LayerCut("", layer))
        shapes = zip(weight_names(layer), layer.weights, strict=True)
        for name, weight in shapes:
            axes = cut.weights.get(name, {})
            if measure == "params" or _is_kernel(name):
                terms.append(_product(tuple(weight.shape), axes))
        if measure == "bytes" and cut.filters is not None:
            weight, axis = cut.filters
            terms.append(Term(_BYTES_PER_OUTPUT, cut.weights[weight][axis]))
    return terms


def _is_kernel(name: str) -> bool:
    return "kernel" in name or name in ("alpha", "embeddings")


def _product(shape: tuple[int, ...], axes: dict[int, Labels]) -> Term:
    """Return the size of a weight, of which some axes carry channels."""
    carried = {axis % len(shape): labels for axis, labels in axes.items()} if shape else {}
    rest = math.prod(size for axis, size in enumerate(shape) if axis not in carried)
    labels = [*carried.values(), None, None]
    return Term(float(rest), labels[0], labels[1])
