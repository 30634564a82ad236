"""What span of input values a model's own first layer was made for, where that can be known."""

from __future__ import annotations

from typing import Any

import numpy as np

from .detect import Flavour
from .spec import LoadedModel

_STANDARD_DEVIATIONS = 3.0


def input_expectations(loaded: LoadedModel) -> list[dict[str, Any]]:
    """Return {``input``, ``low``, ``high``, ``layer``} for a model that begins with a layer that knows its input.

    Rescaling is made for the values that it maps to [0, 1], or to [-1, 1] when its offset is negative; the other two
    for the mean plus or minus three standard deviations of what they saw in training.
    """
    if loaded.flavour is Flavour.SAVED_MODEL or len(loaded.spec.inputs) != 1:
        return []
    layers = [layer for layer in loaded.layer_objects if not _is_container(layer)]
    if not layers:
        return []
    span = _span(layers[0])
    if span is None:
        return []
    low, high = span
    return [{"input": loaded.spec.inputs[0].name, "low": low, "high": high, "layer": layers[0].name}]


def _is_container(layer: Any) -> bool:
    return type(layer).__name__ == "InputLayer" or hasattr(layer, "layers")


def _span(layer: Any) -> tuple[float, float] | None:
    kind = type(layer).__name__
    if kind == "Rescaling":
        scale, offset = np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
        if np.any(scale <= 0):
            return None
        target = -1.0 if np.any(offset < 0) else 0.0
        return float(np.min((target - offset) / scale)), float(np.max((1.0 - offset) / scale))
    if kind == "Normalization" and getattr(layer, "mean", None) is not None and not getattr(layer, "invert", False):
        return _around(np.asarray(layer.mean), np.asarray(layer.variance))
    if kind == "BatchNormalization" and layer.built:
        return _around(np.asarray(layer.moving_mean), np.asarray(layer.moving_variance))
    return None


def _around(mean: Any, variance: Any) -> tuple[float, float] | None:
    spread = _STANDARD_DEVIATIONS * np.sqrt(np.maximum(variance, 0.0))
    low, high = float(np.min(mean - spread)), float(np.max(mean + spread))
    return (low, high) if high > low else None
