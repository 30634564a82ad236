"""Layers of a QAT model without a kernel: activations, merges, and single operators; imports TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from .activations import FIXED, FUNCTIONS, INNER
from .attention import QuantizedAttention
from .kernels import call_with
from .quantized import Quantized, plain, serialized
from .ranges import ActivationRange, fixed, is_training, on_grid, register, straight_through
from .weighted import QuantizedAffine, QuantizedWeights


@register
class QuantizedLayer(Quantized):
    """A layer that is one TFLite operator, with its output quantised.

    Args:
        layer: The layer; the slopes of a PReLU are rounded as the converter does it, with one scale for all.
    """

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: Any) -> None:
        """Build the layer inside, where it has weights to be rounded."""
        if self._has_slopes and not self.layer.built:
            with tf.name_scope(self.layer.name):
                self.layer.build(input_shape)
                self.layer.built = True
        super().build(input_shape)

    @plain
    def call(self, inputs: Any, training: Any = None) -> Any:
        """Compute."""
        learning = is_training(training)
        if not self._has_slopes:
            return self.finish(self.layer(inputs), learning)
        slopes = self.layer.alpha
        rounded = on_grid(slopes, range(len(slopes.shape)))
        values = {"alpha": straight_through(slopes, rounded) if learning else rounded}
        return self.finish(call_with(self.layer, inputs, values), learning)

    @property
    def _has_slopes(self) -> bool:
        return type(self.layer).__name__ == "PReLU"

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "layer": serialized(self.layer)}


_MERGES = {
    "Add": tf.add,
    "Average": tf.add,
    "Maximum": tf.maximum,
    "Minimum": tf.minimum,
    "Multiply": tf.multiply,
    "Subtract": tf.subtract,
}


@register
class QuantizedMerge(Quantized):
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

    @plain
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
        last: Whether it gives an output of the model: in training, a range that the kernel prescribes is then not
            rounded to, since a share rounded to 0 has no logarithm for a loss, and no gradient.
    """

    def __init__(self, function: str, last: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function, self.last = function, last

    def build(self, input_shape: Any) -> None:
        """Make the ranges that are not prescribed."""
        self._range = None if self.function in FIXED else ActivationRange(self, "output")
        self._inner = ActivationRange(self, "inner") if self.function in INNER else None
        super().build(input_shape)

    @plain
    def call(self, inputs: Any, training: Any = None) -> Any:
        """Compute."""
        learning, inner = is_training(training), self._inner
        x = FUNCTIONS[self.function](inputs, lambda y: y if inner is None else inner(y, learning))
        if self._range is not None:
            return self._range(x, learning)
        return x if learning and self.last else fixed(x, *FIXED[self.function])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "function": self.function, "last": self.last}


@register
class QuantizedTensor(Quantized):
    """Quantises what it is given: the model's inputs, and what a layer that stays float gives on."""

    @plain
    def call(self, inputs: Any, training: Any = None) -> Any:
        """Quantise."""
        return self.finish(inputs, is_training(training))


OWN_LAYERS = (
    QuantizedWeights,
    QuantizedAffine,
    QuantizedAttention,
    QuantizedLayer,
    QuantizedMerge,
    QuantizedActivation,
    QuantizedTensor,
)
