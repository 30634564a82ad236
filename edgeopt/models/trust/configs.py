"""The walk through a model's configuration: every class and function that it names, judged before Keras sees it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ...errors import FileFormatError, UnsafeModelError
from . import layers
from .names import CODE_LAYERS, Names, is_keras_module, names_of
from .tables import TYPE_SPECS, is_foreign

_MAX_DEPTH = 256  # a nested model is some five levels deeper than the one around it
_MAX_OBJECTS = 500_000
# Data, not objects: what is inside is looked at all the same.
_DATA = frozenset(
    ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__",
     "TensorShape", "CompositeTensor")
)  # fmt: skip
_TYPE_SPEC_MODULE = re.compile(r"tensorflow\.python\.(framework|ops)\.[a-z_.]+")
_WORDS = ("activations", "constraints", "initializers", "layers", "losses", "metrics", "optimizers", "regularizers")
_REMEDY = "pass --unsafe-load if you trust the file"
# A layer has at least so many weights.
_SIZES = ("units", "filters", "input_dim")
_FREE_SIZE = 1 << 20  # no layer is refused for


def check_configuration(config: Any, keras: Any, path: Path, *, revivable: bool = False) -> None:
    """Refuse a configuration that names anything but what Keras, TensorFlow's pure functions and the user provide.

    Call it within the `custom_object_scope` of the user's objects. The compilation of the outermost model is left
    out: edgeopt loads with ``compile=False``, and a loss of the user's need not be known.

    Args:
        config: The parsed JSON.
        keras: The Keras that is to load it.
        path: The model file, for messages.
        revivable: Of a SavedModel, where tf_keras makes a layer whose class nobody knows out of the graph.

    Raises:
        UnsafeModelError: A class, function, module or operator is named that is not in the closed list.
        FileFormatError: It is nested too deeply, or holds too many objects.
    """
    config = [_uncompiled(item) for item in config] if isinstance(config, list) else _uncompiled(config)
    judge = _Judge(path, keras, names_of(keras.__name__), revivable)
    for item, layer in _mappings(config, path):
        judge.take(item, layer)


def check_sizes(config: Any, values: int, path: Path) -> None:
    """Refuse a configuration with a layer of more units than the file has weights: Keras would fill the memory with it.

    Args:
        config: The parsed JSON.
        values: How many numbers the file holds.
        path: The model file, for messages.

    Raises:
        UnsafeModelError: It has one.
        FileFormatError: It is nested too deeply, or holds too many objects.
    """
    for item, layer in _mappings(_uncompiled(config), path):
        for key in _SIZES:
            size = item.get(key)
            if isinstance(size, (int, float)) and size > max(values, _FREE_SIZE):
                raise UnsafeModelError(
                    f"{path}: {_of(layer)} asks for {key}={size:,}, and the file holds {values:,} weights; {_REMEDY}."
                )


def _uncompiled(config: Any) -> Any:
    if not isinstance(config, Mapping):
        return config
    return {key: value for key, value in config.items() if key not in ("compile_config", "training_config")}


def _mappings(config: Any, path: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each mapping in the configuration, with the name of the layer that it is or belongs to."""
    left: list[tuple[Any, str, int]] = [(config, "", 0)]
    count = 0
    while left:
        item, layer, depth = left.pop()
        if depth > _MAX_DEPTH:
            raise FileFormatError(f"{path} holds a configuration of more than {_MAX_DEPTH} levels; flatten the model.")
        if isinstance(item, Mapping):
            count += 1
            if count > _MAX_OBJECTS:
                raise FileFormatError(f"{path} holds a configuration of more than {_MAX_OBJECTS} objects.")
            layer = _name(item) or layer
            yield item, layer
            left.extend((value, layer, depth + 1) for value in item.values() if isinstance(value, (Mapping, list)))
        elif isinstance(item, list):
            left.extend((value, layer, depth + 1) for value in item if isinstance(value, (Mapping, list)))


def _name(item: Mapping[str, Any]) -> str:
    inner = item.get("config")
    name = inner.get("name") if isinstance(inner, Mapping) else None
    name = item.get("name") if name is None else name
    return name if isinstance(name, str) else ""


@dataclass(frozen=True)
class _Judge:
    path: Path
    keras: Any
    names: Names
    revivable: bool

    def take(self, item: Mapping[str, Any], layer: str) -> None:
        """Judge one mapping; those in it come by themselves."""
        if any(str(key).endswith("_type") and value in ("lambda", "function") for key, value in item.items()):
            self._code("a Lambda layer")
        if "class_name" in item:
            self._object(item, layer)
        elif isinstance(module := item.get("module"), str) and not is_keras_module(module, self.names.flavour):
            self._named(module, "", layer)
        for key, value in item.items():
            if isinstance(value, str) and str(key).endswith("activation") and self._is_misnamed(value):
                self._named("activations", value, layer)

    def _object(self, item: Mapping[str, Any], layer: str) -> None:
        kind, module, registered = item["class_name"], item.get("module"), item.get("registered_name")
        inner = item.get("config")
        if any(value is not None and not isinstance(value, str) for value in (kind, module, registered)):
            raise FileFormatError(
                f"{self.path} names a class by something else than text in {_of(layer)}; it is damaged."
            )
        if kind == "__lambda__":
            self._code("a lambda")
        if kind in (*_DATA, "TypeSpec") and (module or registered):
            self._named(module, str(kind), layer, registered)  # a Keras that does not know the form looks them up
        if kind in ("__typespec__", "TypeSpec"):
            self._type_spec(item, layer)
        elif kind == "function":
            self._function(inner, module, registered, layer)
        elif kind not in _DATA:
            self._class(kind, module, registered, inner, layer)

    def _class(self, kind: Any, module: str | None, registered: str | None, inner: Any, layer: str) -> None:
        if not isinstance(kind, str):
            self._named(module, str(kind), layer)
        if self._is_theirs(kind, module, registered):
            if not self._is_custom(kind):
                self._refuse(layers.fault(kind, inner), layer)
            return
        if kind in CODE_LAYERS:
            self._code(f"a {kind} layer")
        if is_foreign(module, kind) and registered in (None, kind, f"edgeopt>{kind}"):
            return
        if registered not in (None, kind) and not self._is_custom(registered):
            self._named(module, kind, layer, registered)
        if self.revivable and module is None and not self._is_keras_word(kind):
            return
        if not self.names.holds_class(module, kind):
            self._named(module, kind, layer)
        self._refuse(layers.fault(kind, inner), layer)

    def _is_theirs(self, kind: str, module: str | None, registered: str | None) -> bool:
        """Whether it is a class of the user's, however it is looked up.

        The newer formats go by the registered name, and then by the module; the older ones by the name of the class
        alone, which may be that of one of Keras's.
        """
        newer = self._is_custom(registered) if registered else module is None and self._is_custom(kind)
        by_tail = kind == str(registered).rpartition(">")[2] and kind not in CODE_LAYERS
        return newer and (by_tail or self._is_custom(kind))

    def _function(self, name: Any, module: str | None, registered: str | None, layer: str) -> None:
        if not isinstance(name, str):
            self._named(module, str(name), layer)
        if self._is_custom(name):
            return
        by_name = module in (None, "builtins") and self._is_custom_without_package(name)
        known = by_name or is_foreign(module, name) or self.names.holds_function(module, name)
        if not known or registered not in (None, "function", name):  # which tf_keras looks for in the module
            self._named(module, name, layer)

    def _type_spec(self, item: Mapping[str, Any], layer: str) -> None:
        if item["class_name"] == "TypeSpec":  # of the older format, by the name under which TensorFlow registers it
            name = str(item.get("type_spec"))
            module, known = None, name.removeprefix("tf.") in TYPE_SPECS
        else:
            name, module = str(item.get("spec_name")), item.get("module")
            known = _TYPE_SPEC_MODULE.fullmatch(str(module)) is not None and name in TYPE_SPECS
            known = known and item.get("registered_name") in (None, name)
        if not known:
            self._named(module, name, layer)

    def _is_custom(self, name: str | None) -> bool:
        """Whether the user has registered an object of that name, or given it with --custom-objects."""
        return bool(name) and self.keras.saving.get_registered_object(name) is not None

    def _is_custom_without_package(self, name: str) -> bool:
        """Keras 3.6 and earlier wrote a registered function without its package."""
        return ">" not in name and any(key.endswith(f">{name}") for key in self.keras.saving.get_custom_objects())

    def _is_keras_word(self, name: str) -> bool:
        """Whether a table of Keras has something of that name, be it a class or not."""
        spaces = (sys.modules.get(f"{self.names.flavour}.{kind}{word}") for kind in ("", "src.") for word in _WORDS)
        return name in self.names.classes or any(hasattr(space, name) for space in spaces)

    def _is_misnamed(self, activation: str) -> bool:
        """Whether the module of the activations has something of that name that is no activation."""
        space = sys.modules.get(f"{self.names.flavour}.src.activations")
        known = activation in self.names.functions or activation in self.names.classes
        return hasattr(space, activation) and not known and not self._is_custom(activation)

    def _code(self, what: str) -> NoReturn:
        raise UnsafeModelError(f"{self.path} holds Python code ({what}), which would run on loading; {_REMEDY}.")

    def _named(self, module: str | None, name: str, layer: str, registered: str | None = None) -> NoReturn:
        wanted = (registered or name)[:100]
        place = f"{module}.{name}" if module and name else module or name
        raise UnsafeModelError(
            f"{self.path} needs the custom object {wanted!r}; say where it is defined with --custom-objects "
            f"module:{wanted if wanted.isidentifier() else 'NAME'}, or {_REMEDY} ({_of(layer)} names {place[:200]!r}, "
            "which is not among the layers and functions of Keras)."
        )

    def _refuse(self, fault: str, layer: str) -> None:
        if fault:
            raise UnsafeModelError(f"{self.path}: {_of(layer)} {fault}; {_REMEDY}.")


def _of(layer: str) -> str:
    return f"the layer {layer[:100]!r}" if layer else "the model"
