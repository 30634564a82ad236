"""What the layers of a QAT model share; imports TensorFlow.

In training, weights and activations are rounded on the way, and gradients pass straight through. At inference the
same layers compute what the file computes, so that what is traced for conversion holds nothing that the converter would
leave float.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf
import tf_keras

from .activations import FUNCTIONS
from .ranges import ActivationRange

_Method = TypeVar("_Method", bound=Callable[..., Any])


def plain(method: _Method) -> _Method:
    """Keep AutoGraph out of a method that has nothing for it to convert."""
    converted: _Method = tf.autograph.experimental.do_not_convert(method)
    return converted


class Quantized(tf_keras.layers.Layer):  # type: ignore[misc]
    """An activation that the kernel applies by itself, and the range of the output.

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


def serialized(layer: Any) -> Any:
    """Return a layer inside another as that one's configuration holds it."""
    return None if layer is None else tf_keras.layers.serialize(layer)
