"""What 8 bits leave of values, before there is a file: estimates that know minimum and maximum only."""

from __future__ import annotations

import numpy as np

from ...data.dataset import Array

WORTH_DB = 0.3  # gained by more operators
_L2_STEPS = 128  # that L2_NORMALIZATION divides 1 into


def rounded(values: Array, like: Array) -> Array:
    """Round to 255 steps that span what `like` does, and 0."""
    low, high = min(0.0, float(like.min())), max(0.0, float(like.max()))
    step = (high - low) / 255 or 1.0
    return np.asarray(np.clip(np.round(values / step), round(low / step), round(high / step)) * step)


def less_mean(values: Array) -> Array:
    """Return rows less their mean, both rounded."""
    mean = values.mean(axis=-1, keepdims=True)
    centred = values - rounded(mean, mean)
    return rounded(centred, centred)


def units(rows: Array, more: Array | float) -> tuple[Array, Array]:
    """Return what L2_NORMALIZATION makes of rows with one more element, and of that."""
    length = np.maximum(np.sqrt(np.sum(rows**2, axis=-1, keepdims=True) + np.square(more)), np.finfo(float).tiny)
    return np.round(rows / length * _L2_STEPS) / _L2_STEPS, np.round(more / length * _L2_STEPS) / _L2_STEPS


def ratio(wanted: Array, got: Array) -> float:
    """Return signal to noise in dB."""
    return float(10 * np.log10(np.sum(wanted**2) / max(float(np.sum((wanted - got) ** 2)), np.finfo(float).tiny)))
