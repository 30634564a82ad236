"""Making a layer of the target flavour from a configuration: which arguments it takes, which may be left out."""

from __future__ import annotations

import inspect
from typing import Any

from ...errors import ModelError, one_line
from ..load import import_keras
from .differences import UNNAMED


def construct(layer_class: type, config: dict[str, Any], layer: Any, name: str) -> Any:
    """Return a `layer_class` called `name`, float32, made from `config`.

    Args:
        layer_class: The class in the target flavour.
        config: Arguments; those that the class lacks are left out if they change nothing.
        layer: The layer that `config` is from; None for a configuration that was written for this class.
        name: Name of the new layer.

    Raises:
        ModelError: The class lacks an argument that the layer makes use of, or refuses one.
    """
    accepted = accepted_arguments(layer_class)
    accepted |= {key for key, beside in UNNAMED.items() if beside in accepted and config.get(key)}
    for key in [key for key in config if key not in accepted]:
        value = config.pop(key)
        if layer is not None and not _is_default(type(layer), key, value):
            raise ModelError(
                f"Layer {name!r} ({type(layer).__name__}) has {key}={value!r}, which "
                f"{layer_class.__module__.split('.')[0]}'s {layer_class.__name__} does not have; rebuild the model "
                "without it, or register a custom layer with edgeopt.bridge.register."
            )
    if "dtype" in accepted:
        config["dtype"] = _compute_dtype(layer)
    try:
        return layer_class(name=name, **config)
    except Exception as error:
        raise ModelError(
            f"Layer {name!r} ({layer_class.__name__}) cannot be made in the other Keras ({one_line(error)}); replace "
            "it, or register a custom layer with edgeopt.bridge.register."
        ) from error


def translate(module: str, serialized: dict[str, Any], keras: Any) -> Any:
    """Return `keras`'s own initialiser, regulariser or constraint of the same class; None if it has none such.

    Args:
        module: ``initializers``, ``regularizers`` or ``constraints``.
        serialized: The object as a layer's configuration holds it.
        keras: The target's package.
    """
    class_name = serialized["class_name"]
    known = getattr(getattr(keras, module), class_name, None)
    if known is None or serialized.get("registered_name") not in (None, class_name):
        return None
    accepted = accepted_arguments(known)
    # Nested settings (a seed generator, an array) are left out: the weights are copied anyway.
    settings = {key: value for key, value in serialized["config"].items() if key in accepted}
    return known(**{key: value for key, value in settings.items() if not isinstance(value, dict)})


def accepted_arguments(layer_class: type) -> set[str]:
    """Return the keyword arguments that a class's constructor takes, its parents' through ``**kwargs`` included."""
    accepted: set[str] = set()
    for base in layer_class.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        accepted |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)} - {"self"}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return accepted


def standard_layer(layer: Any, flavour: Any) -> bool:
    """Whether a layer is one of Keras' own classes, not a subclass or a namesake of one."""
    return getattr(import_keras(flavour).layers, type(layer).__name__, None) is type(layer)


def _is_default(layer_class: type, key: str, value: Any) -> bool:
    """Whether leaving out `key` changes nothing: at its default, off, or without meaning once weights are copied."""
    if value is None or value is False or key.endswith("_initializer"):
        return True
    default = _default(layer_class, key)
    if isinstance(value, (list, tuple)) and isinstance(default, (list, tuple)):
        return list(value) == list(default)
    return bool(value == default) or (key, value) == ("data_format", "channels_last")


def _default(layer_class: type, key: str) -> Any:
    """Return the default of a constructor argument; None when the constructor does not name it."""
    for base in layer_class.__mro__:
        parameter = inspect.signature(vars(base)["__init__"]).parameters.get(key) if "__init__" in vars(base) else None
        if parameter is not None and parameter.default is not parameter.empty:
            return parameter.default
    return None


def _compute_dtype(layer: Any) -> str:
    dtype = str(getattr(layer, "compute_dtype", None) or "float32")
    return "float32" if "float" in dtype else dtype
