"""Quantisation of activations and weights as TensorFlow computes it in training; imports TensorFlow.

Activations: affine, 8 bits, one range a tensor, by the fake-quantisation operator, which is also what tells the
converter the range. Weights: symmetric, 8 bits, [-127, 127], scale = max|w| / 127 (Jacob et al. 2018, section 3;
LiteRT's 8-bit specification), or 4 bits, [-7, 7], scale = max|w| / 7; by plain arithmetic, which the converter folds
into constants that lie on the grid that it chooses itself; with the operator only where the grid must be another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
import tf_keras

# Share of the old range that a step keeps: ranges start from data, so they need not come far.
_DECAY = 0.99
# A tensor that is always zero still needs a scale that integers can be divided by.
_NARROWEST = 1e-3
# Bits of a weight -> its greatest integer.
LEVELS = {8: 127.0, 4: 7.0}

_observing = False


@contextmanager
def observing() -> Iterator[None]:
    """Let every range widen to what it sees, and quantise nothing: for eager calls on data, before the training."""
    global _observing
    _observing = True
    try:
        yield
    finally:
        _observing = False


def is_training(training: Any) -> bool:
    """Return Keras' `training` argument as a bool; None, which it is while a graph is built, means inference."""
    return bool(training) if isinstance(training, (bool, int)) else False


class ActivationRange:
    """The range of one tensor: two weights of the layer that owns it.

    Args:
        layer: The layer, while it is built.
        name: Prefix of the weights.
    """

    def __init__(self, layer: Any, name: str) -> None:
        options = {
            "shape": (),
            "dtype": "float32",
            "initializer": "zeros",
            "trainable": False,
            "aggregation": tf.VariableAggregation.MEAN,
            "experimental_autocast": False,
        }
        self.low = layer.add_weight(f"{name}_min", **options)
        self.high = layer.add_weight(f"{name}_max", **options)

    def __call__(self, x: Any, training: bool) -> Any:
        """Quantise `x`; in training, follow its range."""
        values = tf.cast(x, tf.float32)
        if _observing:
            self._widen(values)
            return x
        if training:
            self._follow(values)
        return within(x, *self.limits)

    @property
    def limits(self) -> tuple[Any, Any]:
        """The smallest and the largest value that can be told."""
        return self.low, tf.maximum(self.high, self.low + _NARROWEST)

    def _widen(self, values: Any) -> None:
        self.low.assign(tf.minimum(self.low, tf.reduce_min(values)))
        self.high.assign(tf.maximum(self.high, tf.reduce_max(values)))

    def _follow(self, values: Any) -> None:
        """Exponential moving average of the batches' extremes; 0 stays inside, as TFLite demands."""
        batch = tf.stop_gradient(values)
        low, high = tf.minimum(tf.reduce_min(batch), 0.0), tf.maximum(tf.reduce_max(batch), 0.0)
        self.low.assign(_DECAY * self.low + (1.0 - _DECAY) * low)
        self.high.assign(_DECAY * self.high + (1.0 - _DECAY) * high)


def fixed(x: Any, low: float, high: float) -> Any:
    """Quantise to a range that the TFLite kernel prescribes."""
    if _observing:
        return x
    values = tf.cast(x, tf.float32)
    return tf.cast(tf.quantization.fake_quant_with_min_max_args(values, low, high, num_bits=8), x.dtype)


def within(x: Any, low: Any, high: Any) -> Any:
    """Quantise to a range that other ranges prescribe: two scalar tensors."""
    if _observing:
        return x
    values = tf.cast(x, tf.float32)
    return tf.cast(tf.quantization.fake_quant_with_min_max_vars(values, low, high, num_bits=8), x.dtype)


def scales(weights: Any, axes: Sequence[int], bits: int = 8) -> Any:
    """Return the symmetric scales, `axes` reduced to size 1; those of a weight of 1 where all weights are zero."""
    largest = tf.reduce_max(tf.abs(weights), axis=list(axes), keepdims=True)
    return tf.where(largest > 0, largest, tf.ones_like(largest)) / LEVELS[bits]


def on_grid(weights: Any, axes: Sequence[int], bits: int = 8) -> Any:
    """Round weights to their grid of so many bits, with a scale for all that differ along `axes` only."""
    steps = scales(weights, axes, bits)
    return tf.round(weights / steps) * steps


def straight_through(weights: Any, rounded: Any) -> Any:
    """Return `rounded` with the gradient of `weights` (Bengio et al. 2013)."""
    return weights + tf.stop_gradient(rounded - weights)


def marked(weights: Any, limits: Any) -> Any:
    """Tell the converter the grid of `weights`: scale = limit / 127; one limit, or one for each last channel."""
    operation = tf.quantization.fake_quant_with_min_max_vars
    if len(limits.shape) == 1:
        operation = tf.quantization.fake_quant_with_min_max_vars_per_channel
    return operation(weights, -limits, limits, num_bits=8, narrow_range=True)


def register(cls: Any) -> Any:
    """Register a layer class with tf_keras under ``edgeopt>``."""
    return tf_keras.saving.register_keras_serializable("edgeopt")(cls)
