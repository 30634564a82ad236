"""The classes and functions of a Keras that a configuration may name, found by what they are and where they live.

Keras finds an object by its class name alone (the older formats), by a public path (``keras.layers`` and ``Dense``), or
by importing a module (``keras.src.models.functional`` and ``Functional``). Whichever it is, the object must be one of
those collected here: a subclass of a layer, an initialiser and so on, out of the packages that hold such classes.
"""

from __future__ import annotations

import functools
import re
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .tables import PURE_FUNCTIONS

# A module of either Keras; `__internal__` is in the public path of some classes.
_MODULE = re.compile(r"(?:tf_)?keras(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_PACKAGES = re.compile(
    r"(?:keras|tf_keras)\.src\.(?:activations|applications|constraints|dtype_policies|engine|initializers|layers|"
    r"losses|metrics|mixed_precision|models|ops|optimizers|premade_models|quantizers|random|regularizers)(?:\.|$)"
)
_BASES = (
    "Operation", "layers.Layer", "layers.InputSpec", "initializers.Initializer", "regularizers.Regularizer",
    "constraints.Constraint", "losses.Loss", "metrics.Metric", "optimizers.Optimizer", "optimizers.legacy.Optimizer",
    "optimizers.schedules.LearningRateSchedule", "dtype_policies.DTypePolicy", "dtype_policies.DTypePolicyMap",
    "mixed_precision.Policy", "quantizers.Quantizer", "quantizers.QuantizationConfig", "random.SeedGenerator",
)  # fmt: skip
# Where classes have their other names: `Convolution2D`, `l2`, `Adam`.
_NAMESPACES = (
    "", "models", "layers", "layers.experimental.preprocessing", "initializers", "regularizers", "constraints",
    "losses", "metrics", "optimizers", "optimizers.legacy", "optimizers.schedules", "dtype_policies",
    "mixed_precision", "quantizers", "random",
)  # fmt: skip
_FUNCTIONS = ("activations", "losses", "metrics", "constraints", "regularizers", "ops")
_NOT_FUNCTIONS = {"get", "serialize", "deserialize"}
# Layers of Keras that hold or read code: a function, a graph, a pickle.
CODE_LAYERS = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
# Operations that call a function that they are given.
_CALLERS = {
    "AssociativeScan", "Cond", "CustomGradient", "ForiLoop", "Map", "Scan", "Switch", "VectorizedMap", "Vectorize",
    "WhileLoop", "associative_scan", "cond", "custom_gradient", "fori_loop", "map", "scan", "switch", "vectorized_map",
    "vectorize", "while_loop",
}  # fmt: skip


@dataclass(frozen=True)
class Names:
    """The objects of one Keras that a configuration may name.

    Attributes:
        flavour: ``keras`` or ``tf_keras``.
        classes: Class name or alias -> classes of that name.
        functions: Function name -> functions of that name.
    """

    flavour: str
    classes: dict[str, tuple[type, ...]]
    functions: dict[str, tuple[Any, ...]]

    def holds_class(self, module: str | None, name: str) -> bool:
        """Whether Keras, told to find a class `name` in `module`, finds one of these and nothing else."""
        return name in self.classes and self._leads_to(module, name, self.classes[name])

    def holds_function(self, module: str | None, name: str) -> bool:
        """Whether Keras, told to find a function `name` in `module`, finds one of these and nothing else."""
        known = self.functions.get(name)
        if known is None:
            return False
        if module is not None and module.startswith("tensorflow."):
            return getattr(sys.modules.get(module), name, None) in known
        return self._leads_to(module, name, known)

    def _leads_to(self, module: str | None, name: str, known: tuple[Any, ...]) -> bool:
        """Whether each way that this Keras may take from `module` to `name` ends at one of the known objects."""
        if module is None or module == "builtins":
            return True  # by the name alone: in the tables of Keras
        if not is_keras_module(module, self.flavour):
            return False
        place = "tf_" + module if self.flavour == "tf_keras" and module.startswith("keras") else module
        found = (getattr(sys.modules.get(place), name, None), _symbol(self.flavour, f"{module}.{name}"))
        return all(any(value is item for item in known) for value in found if value is not None)


@functools.cache
def names_of(flavour: str) -> Names:
    """Return the names of ``keras`` or ``tf_keras``, which must have been imported."""
    root = sys.modules[flavour]
    found = {cls for path in _BASES for base in _at(root, path) for cls in _with_subclasses(base)}
    allowed = {
        cls for cls in found if _PACKAGES.match(cls.__module__) and cls.__name__ not in (*CODE_LAYERS, *_CALLERS)
    }
    classes: dict[str, set[type]] = {}
    for cls in allowed:
        classes.setdefault(cls.__name__, set()).add(cls)
    for path in _NAMESPACES:
        for space in _at(root, path):
            for alias, value in vars(space).items():
                if isinstance(value, type) and value in allowed:
                    classes.setdefault(alias, set()).add(value)
    functions: dict[str, list[Any]] = {}
    for name, value in (*_public_functions(root), *_tensorflow_functions()):
        functions.setdefault(name, []).append(value)
    return Names(
        flavour,
        {name: tuple(values) for name, values in classes.items()},
        {name: tuple(values) for name, values in functions.items()},
    )


def is_keras_module(module: str, flavour: str) -> bool:
    """Whether it is the path of a module of this Keras; tf_keras takes ``keras`` for its own name too."""
    return _MODULE.fullmatch(module) is not None and (flavour == "tf_keras" or not module.startswith("tf_keras"))


def _symbol(flavour: str, path: str) -> Any:
    """What the flavour has registered under a public path, or None."""
    holder = "keras.src.api_export" if flavour == "keras" else "tensorflow.python.util.tf_export"
    find = getattr(sys.modules.get(holder), "get_symbol_from_name", None)
    return None if find is None else find(path)


def _at(root: Any, path: str) -> Iterator[Any]:
    """The object at a dotted path below `root`, if it is there."""
    try:
        yield functools.reduce(getattr, path.split("."), root) if path else root
    except AttributeError:
        return


def _with_subclasses(base: Any) -> set[type]:
    found, left = set(), [base] if isinstance(base, type) else []
    while left:
        cls = left.pop()
        if cls not in found:
            found.add(cls)
            left.extend(type.__subclasses__(cls))
    return found


def _public_functions(root: Any) -> Iterable[tuple[str, Any]]:
    for path in _FUNCTIONS:
        for space in _at(root, path):
            for name, value in vars(space).items():
                plain = isinstance(value, types.FunctionType) and not name.startswith("_")
                if plain and name not in _NOT_FUNCTIONS and name not in _CALLERS:
                    yield name, value


def _tensorflow_functions() -> Iterable[tuple[str, Any]]:
    """``activation=tf.nn.relu`` is saved as a function of a module of TensorFlow."""
    for symbol in PURE_FUNCTIONS:
        value = _symbol("tf_keras", symbol)
        if value is not None:
            yield getattr(value, "__name__", symbol), value
