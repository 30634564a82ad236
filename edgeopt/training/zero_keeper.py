"""Zeros that pruning has won stay zero while a model is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# A kernel with fewer zeros than this was not pruned: a zero in it is chance, and may move.
_PRUNED_SHARE = 0.05


class ZeroKeeper:
    """Sets weights to zero again after a training step.

    Args:
        masks: Variables, each with an array of its shape: 0 for what is to be zero, else 1.
    """

    def __init__(self, masks: Sequence[tuple[Any, Any]]) -> None:
        self._masks = tuple(masks)

    def __call__(self, model: Any) -> None:
        """Zero what is to be zero."""
        for weight, mask in self._masks:
            weight.assign(weight * mask)

    def moved(self, twins: Mapping[int, Any]) -> ZeroKeeper:
        """Return the same for the variables that stand in for these, by their ids."""
        return ZeroKeeper([(twins[id(weight)], mask) for weight, mask in self._masks])


def zero_keeper(model: Any) -> tuple[ZeroKeeper | None, dict[str, int]]:
    """Return what zeroes again what is zero now in pruned kernels, and the number of such weights by layer."""
    masks: list[tuple[Any, Any]] = []
    counts: dict[str, int] = {}
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if any(True for _ in layer._flatten_layers(include_self=False, recursive=True)):
            continue  # the layers inside come by themselves
        for weight in layer.trainable_weights:
            array = weight.numpy()
            share = float(np.mean(array == 0)) if array.ndim > 1 else 0.0
            if _PRUNED_SHARE <= share < 1.0:
                masks.append((weight, (array != 0).astype(array.dtype)))
                counts[str(layer.name)] = counts.get(str(layer.name), 0) + int(np.sum(array == 0))
    return (ZeroKeeper(masks) if masks else None), counts
