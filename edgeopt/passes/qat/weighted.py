"""Layers of a QAT model with weights, and the normalisation that is folded into them; imports TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from .kernels import Kernel, call_with, kernel_name
from .quantized import Quantized, plain, serialized
from .ranges import is_training, register


@register
class QuantizedWeights(Quantized):
    """A convolution or Dense layer, with the BatchNormalization behind it.

    Args:
        layer: The layer, with a linear activation.
        norm: The BatchNormalization over the last axis that follows it, or None.
        norm_frozen: The normalisation keeps its statistics in training.
        grid: See `kernels.Grid`.
        masked: Zeros stay zero.
        clusters: Number of distinct weights that is kept; 0 for none.
        gain: What the result is multiplied by, folded into the weights of the file; without a normalisation only.
        before: Factor and offset of each channel, with which the inputs are prepared; folded into the weights, too.
        bits: Of a weight: 8 or 4.
    """

    def __init__(
        self,
        layer: Any,
        *,
        norm: Any = None,
        norm_frozen: bool = False,
        grid: str = "channel",
        masked: bool = False,
        clusters: int = 0,
        gain: float = 1.0,
        before: Sequence[Sequence[float]] | None = None,
        bits: int = 8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.layer = layer
        self.gain = gain
        self.before = None if before is None else [[float(value) for value in part] for part in before]
        self.norm = norm
        self.norm_frozen = norm_frozen
        self.grid, self.masked, self.clusters, self.bits = grid, masked, clusters, bits

    def build(self, input_shape: Any) -> None:
        """Build the layers inside, and what keeps zeros and clusters."""
        if not self.layer.built:
            with tf.name_scope(self.layer.name):
                self.layer.build(input_shape)
                self.layer.built = True
        if self.norm is not None and not self.norm.built:
            with tf.name_scope(self.norm.name):
                self.norm.build(self.layer.compute_output_shape(input_shape))
                self.norm.built = True
        self.weight = Kernel(
            self,
            self.layer,
            self.grid,  # type: ignore[arg-type]
            masked=self.masked,
            clusters=self.clusters,
            bits=self.bits,
            factor=None if self.before is None else self.before[0],
        )
        super().build(input_shape)

    @plain
    def call(self, inputs: Any, training: Any = None) -> Any:
        """Compute with rounded weights."""
        learning = is_training(training)
        if learning and self.before is not None:
            factor, offset = (tf.constant(part, inputs.dtype) for part in self.before)
            inputs = inputs * factor + offset
        with tf.name_scope(self.layer.name):
            if self.norm is None:
                x = self._multiplied(inputs, learning)
            elif learning and not self.norm_frozen:
                x = self.norm(self._run(inputs, self.weight.trained(self._gain())), training=True)
            else:
                x = self._folded(inputs, learning)
        return self.finish(x, learning)

    def _multiplied(self, inputs: Any, learning: bool) -> Any:
        if learning:
            x = self._run(inputs, self.weight.trained())
            return x if self.gain == 1.0 else x * self.gain
        if self.gain == 1.0:
            x = self._run(inputs, self.weight.deployed())
            return x if self.before is None else x + tf.cast(self._shift(), x.dtype)
        gain = tf.fill(self.weight.variable.shape[-1:], self.gain)
        bias = {"bias": self.layer.bias * gain} if self.layer.use_bias else {}
        return self._run(inputs, self.weight.deployed(gain), **bias)

    def _folded(self, inputs: Any, learning: bool) -> Any:
        """norm(layer(x)) = layer without bias(x) with weights * gain, + offset."""
        gain = self._gain()
        bias = self.layer.bias if self.layer.use_bias else 0.0
        offset = (bias - self.norm.moving_mean) * gain
        if self.norm.beta is not None:
            offset = offset + self.norm.beta
        if not learning:
            offset = offset if self.before is None else offset + self._shift() * gain
            return self._run(inputs, self.weight.deployed(gain), use_bias=False) + tf.cast(offset, inputs.dtype)
        x = self._run(inputs, self.weight.trained(gain), use_bias=False)
        return x * tf.cast(gain, x.dtype) + tf.cast(offset, x.dtype)

    def _shift(self) -> Any:
        """What the offset of the inputs gives at each output, of the weights that the file has."""
        return self.weight.response([] if self.before is None else self.before[1])

    def _gain(self) -> Any:
        gain = tf.math.rsqrt(self.norm.moving_variance + self.norm.epsilon)
        return gain if self.norm.gamma is None else gain * self.norm.gamma

    def _run(self, inputs: Any, kernel: Any, **replaced: Any) -> Any:
        values = {kernel_name(self.layer): tf.cast(kernel, inputs.dtype), **replaced}
        return call_with(self.layer, inputs, values)

    def float_weights(self) -> dict[str, list[npt.NDArray[Any]]]:
        """Return the trained float weights of the layers inside, by layer name, in their own order."""
        own = [
            self.weight.numpy() if variable is self.weight.variable else np.asarray(variable)
            for variable in self.layer.weights
        ]
        found = {self.layer.name: own}
        if self.norm is not None:
            found[self.norm.name] = self.norm.get_weights()
        return found

    @property
    def trainable_weights(self) -> list[Any]:
        """Where clusters are kept, their values are trained, not the weights."""
        found: list[Any] = super().trainable_weights
        if not self.clusters or not self.built:
            return found
        frozen = not self.layer.trainable
        return [
            weight
            for weight in found
            if weight is not self.weight.variable and not (frozen and weight is self.weight.centroids)
        ]

    @property
    def non_trainable_weights(self) -> list[Any]:
        """All others."""
        trainable = {id(weight) for weight in self.trainable_weights}
        every = [*super().trainable_weights, *super().non_trainable_weights]
        return [weight for weight in every if id(weight) not in trainable]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "layer": serialized(self.layer),
            "norm": serialized(self.norm),
            "norm_frozen": self.norm_frozen,
            "grid": self.grid,
            "masked": self.masked,
            "clusters": self.clusters,
            "gain": self.gain,
            "before": self.before,
            "bits": self.bits,
        }


@register
class QuantizedAffine(Quantized):
    """scale * x + offset for each channel: Rescaling, Normalization, BatchNormalization without a convolution before.

    At inference it is a depthwise convolution of one element: one integer operator instead of two float ones.

    Args:
        layer: The layer.
        frozen: A BatchNormalization keeps its statistics in training.
    """

    def __init__(self, layer: Any, *, frozen: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer
        self.frozen = frozen

    @plain
    def call(self, inputs: Any, training: Any = None) -> Any:
        """Compute."""
        learning = is_training(training)
        if learning:
            x = self.layer(inputs, **({"training": not self.frozen} if self._normalises else {}))
        else:
            x = self._as_convolution(inputs) if self.layer.built else self.layer(inputs)
        return self.finish(x, learning)

    @property
    def _normalises(self) -> bool:
        return type(self.layer).__name__ == "BatchNormalization"

    def build(self, input_shape: Any) -> None:
        """Build the layer inside."""
        if not self.layer.built:
            with tf.name_scope(self.layer.name):
                self.layer.build(input_shape)
                self.layer.built = True
        super().build(input_shape)

    def _as_convolution(self, inputs: Any) -> Any:
        channels = inputs.shape[-1]
        scale, offset = (tf.broadcast_to(tf.reshape(part, (-1,)), (channels,)) for part in self._constants())
        shape = tf.shape(inputs)
        image = (
            inputs
            if len(inputs.shape) == 4
            else tf.reshape(inputs, (-1, 1, inputs.shape[1:-1].num_elements() or 1, channels))
        )
        kernel = tf.reshape(tf.cast(scale, inputs.dtype), (1, 1, channels, 1))
        x = tf.nn.depthwise_conv2d(image, kernel, [1, 1, 1, 1], "VALID") + tf.cast(offset, inputs.dtype)
        if len(inputs.shape) == 4:
            return x
        static = [-1, *inputs.shape[1:]]
        return tf.reshape(x, static if None not in static else shape)

    def _constants(self) -> tuple[Any, Any]:
        layer = self.layer
        if type(layer).__name__ == "Rescaling":
            return tf.constant(layer.scale, tf.float32), tf.constant(layer.offset, tf.float32)
        if type(layer).__name__ == "Normalization":
            # The layer divides by at least Keras' epsilon.
            deviation = tf.maximum(tf.sqrt(layer.variance), tf_keras.backend.epsilon())
            return 1.0 / deviation, -layer.mean / deviation
        gain = tf.math.rsqrt(layer.moving_variance + layer.epsilon)
        gain = gain if layer.gamma is None else gain * layer.gamma
        beta = 0.0 if layer.beta is None else layer.beta
        return gain, beta - layer.moving_mean * gain

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "layer": serialized(self.layer), "frozen": self.frozen}
