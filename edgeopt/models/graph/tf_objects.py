"""What tf_keras lacks and Keras 3 has, as tf_keras objects; imports TensorFlow, so import it inside functions only.

Models that hold these reload in any process that has imported this module: they are registered under ``edgeopt>``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from .operations import run
from .template import decode

_PACKAGE = "edgeopt"


def _carry(name: str) -> Callable[[Any], Any]:
    """Register Keras 3's activation `name` with tf_keras, under a name that tf_keras cannot take for its own."""
    function = getattr(keras.activations, name)

    def activation(x: Any) -> Any:
        return function(x)

    activation.__name__ = activation.__qualname__ = f"keras3_{name}"
    activation.__doc__ = f"Keras 3's `{name}`."
    plain = tf.autograph.experimental.do_not_convert(activation)
    plain.__name__ = activation.__name__
    registered: Callable[[Any], Any] = tf_keras.saving.register_keras_serializable(_PACKAGE, activation.__name__)(plain)
    return registered


def _missing_activations() -> list[str]:
    """Names of Keras 3's activations of one argument that tf_keras lacks, or (hard_sigmoid) defines otherwise."""
    aliases = {"get", "serialize", "deserialize", "hard_swish", "swish", "silu"}
    public = [name for name in dir(keras.activations) if not name.startswith("_") and name not in aliases]
    missing = [name for name in public if not hasattr(tf_keras.activations, name) or name == "hard_sigmoid"]
    return [name for name in missing if _takes_one_argument(getattr(keras.activations, name))]


def _takes_one_argument(function: Any) -> bool:
    if not callable(function):
        return False
    parameters = inspect.signature(function).parameters.values()
    return sum(parameter.default is parameter.empty for parameter in parameters) == 1


# Keras 3's name -> the function that stands in for it.
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {name: _carry(name) for name in _missing_activations()}


@tf_keras.saving.register_keras_serializable(_PACKAGE)
class KerasOperation(tf_keras.layers.Layer):  # type: ignore[misc]
    """A `keras.ops` function as a layer, for operations that no tf_keras layer does.

    Args:
        operation: Name of the function in `keras.ops`, e.g. ``"get_item"``.
        template: The JSON of its arguments, with places for the layer's inputs, as `template.encode` writes it.
    """

    def __init__(self, operation: str, template: str, **kwargs: Any) -> None:
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.operation = operation
        self.template = template

    def call(self, inputs: Any) -> Any:
        """Apply the function."""
        args, kwargs = self.arguments(list(inputs) if isinstance(inputs, (list, tuple)) else [inputs])
        return run(self.operation, args, kwargs)

    def arguments(self, tensors: list[Any]) -> tuple[tuple[Any, ...], dict[str, object]]:
        """Return arguments and keyword arguments of the function with `tensors` put in."""
        return decode(self.template, tensors)

    def get_config(self) -> dict[str, object]:
        """Return the constructor's arguments."""
        config = {**super().get_config(), "operation": self.operation, "template": self.template}
        config.pop("autocast", None)
        return config
