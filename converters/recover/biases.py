"""Bias correction: what quantising a layer and all before it adds to the mean of its result is taken off its bias.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, with means
from samples instead of from batch normalisation.
"""

from __future__ import annotations

import numpy as np

from .evidence import Evidence
from .layers import Integers, Layer, Reals

_LARGEST = 2**31 - 1


def corrected_bias(evidence: Evidence, integers: Integers) -> Reals:
    """Return the bias, on the layer's grid, with which it gives in the mean what is wanted: (channels,)."""
    layer = evidence.layer
    weights = integers * layer.steps
    made = (evidence.mean_row * weights).sum(axis=0) if layer.depthwise else evidence.mean_row @ weights
    return on_grid(layer, evidence.mean_wanted - made)


def kept_mean(evidence: Evidence, integers: Integers) -> Reals:
    """Return the bias with which other weights give in the mean what the layer gives as it is: (channels,)."""
    layer = evidence.layer
    change = (integers - layer.integers) * layer.steps
    shift = (evidence.mean_row * change).sum(axis=0) if layer.depthwise else evidence.mean_row @ change
    return on_grid(layer, layer.stored_bias - shift)


def on_grid(layer: Layer, bias: Reals) -> Reals:
    """Return the nearest biases that 32-bit integers can hold."""
    return np.asarray(np.clip(np.rint(bias / layer.bias_step), -_LARGEST, _LARGEST) * layer.bias_step)
