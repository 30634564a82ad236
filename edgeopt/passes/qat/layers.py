"""The layers of a QAT model: each computes in training what the file's integer kernels will; imports TensorFlow.

In training, weights and activations are rounded on the way, and gradients pass straight through. At inference the
same layers compute what the file computes, BatchNormalization folded into the weights before it, so that what is traced
for conversion holds nothing that the converter would leave float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from .activations import FIXED, FUNCTIONS, INNER
from .kernels import Kernel, call_with, kernel_name
from .ranges import ActivationRange, fixed, is_training, register

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _plain(method: _Method) -> _Method:
    """Keep AutoGraph out of a method that has nothing for it to convert."""
    converted: _Method = tf.autograph.experimental.do_not_convert(method)
    return converted


class _Quantized(tf_keras.layers.Layer):  # type: ignore[misc]
    """What the layers below share: an activation that the kernel applies by itself, and the output's range.

    Args:
        activation: ``linear``, ``relu`` or ``relu6``.
        output: Whether the output is quantised here; not so where a following ReLU is part of the same operator.
    """

    def __init__(self, *, activation: str = "linear", output: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation
        self.output_quantized = output

    def build(self, input_shape: Any) -> None:
        """Make the range."""
        self._range = ActivationRange(self, "output") if self.output_quantized else None
        super().build(input_shape)

    def finish(self, x: Any, training: bool) -> Any:
        """Apply the activation and quantise."""
        x = FUNCTIONS[self.activation](x, lambda inner: inner)
        return x if self._range is None else self._range(x, training)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "activation": self.activation, "output": self.output_quantized}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make the layer, the layers inside it first."""
        config = dict(config)
        for key in ("layer", "norm"):
            if config.get(key) is not None:
                config[key] = tf_keras.layers.deserialize(config[key])
        return cls(**config)


def _serialized(layer: Any) -> Any:
    return None if layer is None else tf_keras.layers.serialize(layer)


@register
class QuantizedWeights(_Quantized):
    """A convolution or Dense layer, with the BatchNormalization behind it.

    Args:
        layer: The layer, with a linear activation.
        norm: The BatchNormalization over the last axis that follows it, or None.
        norm_frozen: The normalisation keeps its statistics in training.
        grid: See `kernels.Grid`.
        masked: Zeros stay zero.
        clusters: Number of distinct weights that is kept; 0 for none.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.layer = layer
        self.norm = norm
        self.norm_frozen = norm_frozen
        self.grid, self.masked, self.clusters = grid, masked, clusters

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
        self.weight = Kernel(self, self.layer, self.grid, masked=self.masked, clusters=self.clusters)  # type: ignore[arg-type]
        super().build(input_shape)

    @_plain
    def call(self, inputs: Any, training: Any = None) -> Any:
        """Compute with rounded weights."""
        learning = is_training(training)
        with tf.name_scope(self.layer.name):
            if self.norm is None:
                kernel = self.weight.trained() if learning else self.weight.deployed()
                x = self._run(inputs, kernel)
            elif learning and not self.norm_frozen:
                x = self.norm(self._run(inputs, self.weight.trained(self._gain())), training=True)
            else:
                x = self._folded(inputs, learning)
        return self.finish(x, learning)

    def _folded(self, inputs: Any, learning: bool) -> Any:
        """norm(layer(x)) = layer without bias(x) with weights * gain, + offset."""
        gain = self._gain()
        bias = self.layer.bias if self.layer.use_bias else 0.0
        offset = (bias - self.norm.moving_mean) * gain
        if self.norm.beta is not None:
            offset = offset + self.norm.beta
        if not learning:
            return self._run(inputs, self.weight.deployed(gain), use_bias=False) + tf.cast(offset, inputs.dtype)
        x = self._run(inputs, self.weight.trained(gain), use_bias=False)
        return x * tf.cast(gain, x.dtype) + tf.cast(offset, x.dtype)

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
            "layer": _serialized(self.layer),
            "norm": _serialized(self.norm),
            "norm_frozen": self.norm_frozen,
            "grid": self.grid,
            "masked": self.masked,
            "clusters": self.clusters,
        }


@register
class QuantizedAffine(_Quantized):
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

    @_plain
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

    def float_weights(self) -> dict[str, list[npt.NDArray[Any]]]:
        """Return the weights of the layer inside, by its name."""
        return {self.layer.name: self.layer.get_weights()}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "layer": _serialized(self.layer), "frozen": self.frozen}


@register
class QuantizedLayer(_Quantized):
    """A layer that is one TFLite operator, with its output quantised.

    Args:
        layer: The layer; the weights that it may have (PReLU) are left to the converter.
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer

    @_plain
    def call(self, inputs: Any, training: Any = None) -> Any:
        """Compute."""
        return self.finish(self.layer(inputs), is_training(training))

    def float_weights(self) -> dict[str, list[npt.NDArray[Any]]]:
        """Return the weights of the layer inside, by its name."""
        return {self.layer.name: self.layer.get_weights()}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "layer": _serialized(self.layer)}


_MERGES = {
    "Add": tf.add,
    "Average": tf.add,
    "Maximum": tf.maximum,
    "Minimum": tf.minimum,
    "Multiply": tf.multiply,
    "Subtract": tf.subtract,
}


@register
class QuantizedMerge(_Quantized):
    """Add, Subtract, Multiply, Average, Maximum or Minimum of two or more tensors, two at a time as TFLite does it.

    Args:
        merge: The name of the Keras layer.
        count: Number of inputs.
    """

    def __init__(self, merge: str, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.merge = merge
        self.count = count

    def build(self, input_shape: Any) -> None:
        """Make a range for each intermediate result."""
        steps = self.count - 2 + (self.merge == "Average")
        self._inner = [ActivationRange(self, f"inner_{index}") for index in range(steps)]
        super().build(input_shape)

    @_plain
    def call(self, inputs: Sequence[Any], training: Any = None) -> Any:
        """Compute."""
        learning, operation = is_training(training), _MERGES[self.merge]
        x = inputs[0]
        for index, other in enumerate(inputs[1:]):
            x = operation(x, other)
            if index < len(self._inner):
                x = self._inner[index](x, learning)
        if self.merge == "Average":
            x = x * (1.0 / self.count)
        return self.finish(x, learning)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "merge": self.merge, "count": self.count}


@register
class QuantizedActivation(tf_keras.layers.Layer):  # type: ignore[misc]
    """An activation function, as the integer kernels compute it.

    Args:
        function: A name of `activations.FUNCTIONS`.
    """

    def __init__(self, function: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def build(self, input_shape: Any) -> None:
        """Make the ranges that are not prescribed."""
        self._range = None if self.function in FIXED else ActivationRange(self, "output")
        self._inner = ActivationRange(self, "inner") if self.function in INNER else None
        super().build(input_shape)

    @_plain
    def call(self, inputs: Any, training: Any = None) -> Any:
        """Compute."""
        learning, inner = is_training(training), self._inner
        x = FUNCTIONS[self.function](inputs, lambda y: y if inner is None else inner(y, learning))
        return fixed(x, *FIXED[self.function]) if self._range is None else self._range(x, learning)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "function": self.function}


@register
class QuantizedTensor(_Quantized):
    """Quantises what it is given: the model's inputs, and what a layer that stays float gives on."""

    @_plain
    def call(self, inputs: Any, training: Any = None) -> Any:
        """Quantise."""
        return self.finish(inputs, is_training(training))


OWN_LAYERS = (
    QuantizedWeights,
    QuantizedAffine,
    QuantizedLayer,
    QuantizedMerge,
    QuantizedActivation,
    QuantizedTensor,
)
