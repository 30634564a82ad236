"""LayerNormalization and GroupNormalization, traced so that every operator of them has an 8-bit form.

Keras 3 computes ``x * (gamma / s) + (-mean * (gamma / s) + beta)``: its NEG stays float in a TFLite file, and in 8 bits
the difference of two large products loses what it is after. While the model is traced inside `centred`, the mean goes
first, ``(x - mean) * (gamma / s) + beta``: the same function (Ba et al. 2016, eq. 4), equal up to float rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..spec import LoadedModel
from .patching import replace_attribute


@contextmanager
def centred(loaded: LoadedModel) -> Iterator[None]:
    """Let the model's own LayerNormalization and GroupNormalization layers subtract the mean first while it lasts."""
    undo: list[Callable[[], None]] = []
    try:
        for layer in loaded.layer_objects:
            compute = _COMPUTED.get(type(layer).__name__)
            if compute is not None and type(layer).__module__.startswith(("keras.", "tf_keras.")):
                undo.append(replace_attribute(layer, "call", _bind(compute, layer)))
        yield
    finally:
        for restore in reversed(undo):
            restore()


def _bind(compute: Callable[[Any, Any], Any], layer: Any) -> Callable[..., Any]:
    original = layer.call

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        import tensorflow as tf

        known = getattr(layer, "rms_scaling", False) is False and kwargs.get("mask") is None and not args
        if not known or not isinstance(inputs, tf.Tensor):  # a mask changes the mean; a ragged tensor has no one shape
            return original(inputs, *args, **kwargs)
        return compute(layer, inputs)

    return call


def _layer_normalization(layer: Any, x: Any) -> Any:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    axes = sorted(axis % len(x.shape) for axis in axes)
    shape = [x.shape[axis] if axis in axes else 1 for axis in range(len(x.shape))]
    return _normalised(x, axes, layer.epsilon, layer.gamma, layer.beta, shape)


def _group_normalization(layer: Any, x: Any) -> Any:
    import tensorflow as tf

    axis = layer.axis % len(x.shape)
    split = [layer.groups, x.shape[axis] // layer.groups]
    sizes = list(tf.shape(x)) if None in x.shape else list(x.shape)
    grouped = tf.reshape(x, [*sizes[:axis], *split, *sizes[axis + 1 :]])
    axes = [number for number in range(1, len(grouped.shape)) if number != axis]
    shape = [1] * len(grouped.shape)
    shape[axis : axis + 2] = split
    gamma, beta = (layer.gamma if layer.scale else None), (layer.beta if layer.center else None)
    return tf.reshape(_normalised(grouped, axes, layer.epsilon, gamma, beta, shape), sizes)


def _normalised(x: Any, axes: list[int], epsilon: float, gamma: Any, beta: Any, shape: list[int]) -> Any:
    import tensorflow as tf

    mean = tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axes, keepdims=True)
    scale = tf.math.rsqrt(variance + epsilon)
    if gamma is not None:  # first with the small tensor: each product of a large one is rounded to 8 bits
        scale *= tf.reshape(tf.convert_to_tensor(gamma), shape)
    x = (x - mean) * scale
    return x if beta is None else x + tf.reshape(tf.convert_to_tensor(beta), shape)


_COMPUTED: dict[str, Callable[[Any, Any], Any]] = {
    "LayerNormalization": _layer_normalization,
    "GroupNormalization": _group_normalization,
}
