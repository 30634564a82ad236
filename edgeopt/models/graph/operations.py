"""Bare operations of a graph (`x * 2.`, `keras.ops.mean(x)`, `tf.reduce_mean(x)`), under the names of `keras.ops`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from ...errors import ModelError
from .tf_symbols import TF_SYMBOLS, tf_arguments

# Operations of Keras 3 whose class is not named after the public function.
_CLASS_NAMES = {"ReLU": "activations.relu", "GetItem": "get_item"}
_TF_OP_LAYERS = ("TFOpLambda", "SlicingOpLambda")
_TF_OBJECT_LAYERS = ("ClassMethod", "InstanceMethod", "InstanceProperty", "TensorFlowOpLayer")


def function_of(name: str) -> Any:
    """Return the function behind a name: `keras.ops.mean` for ``"mean"``; ``"activations.relu"`` as written."""
    import keras

    holder, _, attribute = name.rpartition(".")
    # The name may come out of a model file: no other part of Keras may be called by it.
    space = {"": keras.ops, "activations": keras.activations}.get(holder)
    function = getattr(space, attribute, None)
    return function if inspect.isfunction(function) and attribute not in ("get", "serialize", "deserialize") else None


def bind(name: str, args: tuple[Any, ...], kwargs: Mapping[str, object]) -> dict[str, Any]:
    """Return the arguments of an operation by parameter name, defaults included.

    Raises:
        TypeError: The arguments do not fit the function.
    """
    bound = inspect.signature(function_of(name)).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def default_of(function: Any, parameter: str) -> Any:
    """Return a parameter's default; a parameter that the function lacks defaults to None."""
    known = inspect.signature(function).parameters.get(parameter)
    return None if known is None else known.default


def read_keras(
    operation: Any, args: tuple[Any, ...], kwargs: Mapping[str, object]
) -> tuple[str, tuple[Any, ...], dict[str, object]]:
    """Return name, arguments and keyword arguments of a Keras 3 operation node.

    Raises:
        ModelError: The operation has no public function, or its settings cannot be read.
    """
    class_name = type(operation).__name__
    name = _CLASS_NAMES.get(class_name, _snake_case(class_name))
    function = function_of(name)
    if function is None:
        raise _refusal(operation.name, class_name, "keras.ops has no function of that name")
    try:
        settings = dict(operation.get_config())
    except NotImplementedError:
        # Settings that are arrays are not in the config; the constructor kept them as attributes.
        settings = {
            key: getattr(operation, key) for key in _constructor_arguments(operation) if hasattr(operation, key)
        }
    settings.pop("name", None)
    accepted = inspect.signature(function).parameters
    lost = [key for key, value in settings.items() if key not in accepted and value is not None]
    if lost:
        raise _refusal(operation.name, class_name, f"keras.ops.{name} does not take {', '.join(lost)}")
    settings = {key: value for key, value in settings.items() if key in accepted}
    if name == "einsum":
        args = (settings.pop("subscripts"), *args)
    return name, args, {**settings, **kwargs}


def is_tf_operation(layer: Any) -> bool:
    """Whether a tf_keras layer stands for a TensorFlow function that was called on a symbolic tensor."""
    return type(layer).__name__ in (*_TF_OP_LAYERS, *_TF_OBJECT_LAYERS) and type(layer).__module__.startswith(
        "tf_keras."
    )


def read_tf(
    layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, object]
) -> tuple[str, tuple[Any, ...], dict[str, object]]:
    """Return name, arguments and keyword arguments, in `keras.ops` terms, of a tf_keras `TFOpLambda` node.

    Raises:
        ModelError: The TensorFlow function is not one of those in `TF_SYMBOLS`, or is called in a way that has no
            counterpart.
    """
    if type(layer).__name__ not in _TF_OP_LAYERS:
        raise _refusal(
            layer.name, type(layer).__name__, "only functions of TensorFlow are known, not methods of tensors"
        )
    symbol = str(layer.symbol).removeprefix("compat.v1.")
    if symbol not in TF_SYMBOLS or function_of(TF_SYMBOLS[symbol][0]) is None:
        raise _refusal(layer.name, f"tf.{symbol}", "it is not among the TensorFlow functions that the bridge knows")
    try:
        name, arguments = tf_arguments(symbol, args, kwargs)
    except TypeError as error:
        raise _refusal(layer.name, f"tf.{symbol}", str(error)) from error
    if name == "einsum":
        return name, args, {}
    return name, (), arguments


def constant(value: Any, owner: str) -> Any:
    """Return a constant argument as plain Python or NumPy.

    Raises:
        ModelError: The argument is a weight that belongs to no layer.
    """
    if hasattr(value, "assign"):
        raise ModelError(
            f"{owner!r} uses the weight {getattr(value, 'path', getattr(value, 'name', '?'))!r} outside of a layer, "
            "which cannot be carried to the other Keras; put the weight and the operation into a layer class, and "
            "register it with edgeopt.bridge.register."
        )
    if hasattr(value, "as_numpy_dtype"):
        return value.name
    if hasattr(value, "as_list"):
        return value.as_list()
    array = value.numpy() if hasattr(value, "numpy") else value
    if hasattr(array, "ndim") and array.ndim == 0:
        return array.item()
    return array


def run(name: str, args: tuple[Any, ...], kwargs: Mapping[str, object]) -> Any:
    """Call an operation on Keras 3 symbolic tensors, or on TensorFlow tensors."""
    return function_of(name)(*args, **kwargs)


def _refusal(layer_name: str, what: str, why: str) -> ModelError:
    return ModelError(
        f"Operation {layer_name!r} ({what}) cannot be carried to the other Keras: {why}; write it with layers, or put "
        "it into a custom layer and register that with edgeopt.bridge.register."
    )


def _snake_case(class_name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()


def _constructor_arguments(operation: Any) -> list[str]:
    return [name for name in inspect.signature(type(operation).__init__).parameters if name not in ("self", "name")]
