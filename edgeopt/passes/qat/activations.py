"""Activation functions as TFLite's integer kernels compute them, step by step; imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from .ranges import fixed

# Takes the tensor and a function that quantises an intermediate result to a range of its own.
Function = Callable[[Any, Callable[[Any], Any]], Any]


def _hard_sigmoid(x: Any, inner: Callable[[Any], Any]) -> Any:
    return fixed(tf.nn.relu6(x + 3.0), 0.0, 6.0) * (1.0 / 6.0)


def _keras2_hard_sigmoid(x: Any, inner: Callable[[Any], Any]) -> Any:
    """clip(0.2 x + 0.5, 0, 1) = relu6(1.2 x + 3) / 6."""
    return fixed(tf.nn.relu6(inner(x * 1.2) + 3.0), 0.0, 6.0) * (1.0 / 6.0)


def _plain(function: Callable[[Any], Any]) -> Function:
    return lambda x, inner: function(x)


# The names are those of `edgeopt.models.bridge.activations`.
FUNCTIONS: dict[str, Function] = {
    "gelu": _plain(tf.nn.gelu),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": _plain(lambda x: x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)),
    "keras2_hard_sigmoid": _keras2_hard_sigmoid,
    "leaky_relu": _plain(lambda x: tf.nn.leaky_relu(x, 0.2)),
    "linear": _plain(lambda x: x),
    "relu": _plain(tf.nn.relu),
    "relu6": _plain(tf.nn.relu6),
    "sigmoid": _plain(tf.nn.sigmoid),
    "silu": _plain(lambda x: x * fixed(tf.nn.sigmoid(x), 0.0, 255.0 / 256.0)),
    "softmax": _plain(tf.nn.softmax),
    "tanh": _plain(tf.nn.tanh),
}

# Ranges that TFLite's kernels prescribe for their outputs (LiteRT's 8-bit specification: LOGISTIC, SOFTMAX, TANH), and
# those that follow from the function.
FIXED: dict[str, tuple[float, float]] = {
    "hard_sigmoid": (0.0, 1.0),
    "keras2_hard_sigmoid": (0.0, 1.0),
    "sigmoid": (0.0, 255.0 / 256.0),
    "softmax": (0.0, 255.0 / 256.0),
    "tanh": (-1.0, 127.0 / 128.0),
}
INNER = frozenset({"keras2_hard_sigmoid"})
# What a kernel before it applies to its own result, at no cost.
FUSED = frozenset({"linear", "relu", "relu6"})
