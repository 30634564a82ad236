"""One layer of one flavour as its namesake of the other.

A layer is first described in terms of Keras 3 (class name, configuration, activations by name, wrapped layers already
mapped), then made in the target flavour from the arguments that the target's class takes. An argument that it does not
take may be left out only when it is at its default; anything else is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import Any

from ...errors import ModelError, one_line
from ..detect import Flavour
from ..graph.notes import BridgeNote, Rule
from ..load import flavour_of, import_keras
from . import activations
from .construct import construct, standard_layer, translate
from .differences import ADVICE, FROM_TF_KERAS, IGNORED, LAID_OUT, LOOKUPS, TO_TF_KERAS, WRAPPED
from .registry import counterpart

_ACTIVATION_KEYS = ("activation", "recurrent_activation")
_OBJECTS = {"_initializer": "initializers", "_regularizer": "regularizers", "_constraint": "constraints"}
_COMMON = ("name", "trainable", "dtype")


class LayerMapper:
    """Maps layers from one flavour to another (or to copies in the same one), and notes what is not the same there.

    Args:
        source: Flavour of the layers given.
        target: Flavour of the layers returned.
        bridge_model: How to map a whole model that a wrapper such as TimeDistributed holds.
    """

    def __init__(self, source: Flavour, target: Flavour, bridge_model: Callable[[Any], Any]) -> None:
        self.source = source
        self.target = target
        self.notes: list[BridgeNote] = []
        self._bridge_model = bridge_model

    def map(self, layer: Any, name: str) -> list[Any]:
        """Return the layers, to be called one after the other, that do in the target flavour what `layer` does.

        Raises:
            ModelError: There is no such layer.
        """
        if flavour_of(layer) is not None:
            return [self._bridge_model(layer)]
        if not standard_layer(layer, self.source):
            return [self._custom(layer, name)]
        class_name = type(layer).__name__
        if class_name == "Lambda":
            self._note(name, "python carried", "the function of the Lambda layer, as it is")
            arguments = dict(layer.arguments or {})
            return [import_keras(self.target).layers.Lambda(layer.function, arguments=arguments, name=name)]
        if class_name in LOOKUPS:
            raise ModelError(
                f"Layer {layer.name!r} ({class_name}) looks values up in a table, which no pass takes; "
                f"{ADVICE[class_name]}, and give the pass the model behind it: "
                f"keras.Model(model.get_layer({layer.name!r}).output, model.outputs)."
            )
        laid_out = ("implementation",) if class_name in LAID_OUT else ()
        config = self._config(layer, [key for key in IGNORED if key not in laid_out])
        for key in WRAPPED.get(class_name, ()):
            config[key] = self._wrapped(layer, key)
        if self.source is Flavour.TF_KERAS and class_name in FROM_TF_KERAS:
            class_name, config = FROM_TF_KERAS[class_name](config)
        return self.build(class_name, config, name, layer)

    def build(self, class_name: str, config: dict[str, object], name: str, layer: Any = None) -> list[Any]:
        """Return a standard layer of the target flavour, made from a configuration in Keras 3's terms."""
        if self._needs_split(config):
            before = [] if class_name == "Activation" else self._without_activation(class_name, config, name, layer)
            return [*before, *self._hard_sigmoid(name)]
        if self.target is Flavour.TF_KERAS and class_name in TO_TF_KERAS:
            class_name, config = TO_TF_KERAS[class_name](config)
        if layer is not None and class_name != type(layer).__name__:
            self._note(name, "class changed", f"{type(layer).__name__} became {class_name}")
        found = getattr(import_keras(self.target).layers, class_name, None)
        if found is None:
            raise self._refusal(layer)
        return [construct(found, self._values(config, name), layer, name)]

    def _custom(self, layer: Any, name: str) -> Any:
        """Return the user's own layer: a copy in the same flavour, its registered counterpart in the other."""
        found = type(layer) if self.source is self.target else counterpart(type(layer), self.target)
        if found is None:
            raise self._refusal(layer)
        return construct(found, self._values(self._config(layer, _COMMON), name), layer, name)

    def _config(self, layer: Any, ignored: Container[str]) -> dict[str, object]:
        """Return the layer's own configuration, its activations by Keras 3's names."""
        try:
            config = dict(layer.get_config())
        except Exception as error:
            raise ModelError(
                f"Layer {layer.name!r} ({type(layer).__name__}) gives no configuration ({one_line(error)}); write its "
                "get_config."
            ) from error
        _check(layer, config)
        config = {key: value for key, value in config.items() if key not in ignored}
        for key in _ACTIVATION_KEYS:
            if key in config and callable(getattr(layer, key, None)):
                config[key] = self._activation(layer, key)
        return config

    def _activation(self, layer: Any, key: str) -> Any:
        function = getattr(layer, key)
        if hasattr(function, "get_config"):
            mapped = self.map(function, function.name)
            if len(mapped) == 1:
                return mapped[0]
        return activations.canonical(function, self.source, layer.name)

    def _wrapped(self, layer: Any, key: str) -> Any:
        inner = getattr(layer, "forward_layer" if key == "layer" and hasattr(layer, "forward_layer") else key)
        items = list(inner) if isinstance(inner, (list, tuple)) else [inner]
        # Bidirectional puts the prefix in front of the name by itself.
        chains = [self.map(item, re.sub("^(forward|backward)_", "", item.name)) for item in items]
        if any(len(chain) != 1 for chain in chains):
            raise ModelError(
                f"Layer {layer.name!r} wraps a layer whose activation has no counterpart; use another activation in it."
            )
        mapped = [chain[0] for chain in chains]
        return mapped if isinstance(inner, (list, tuple)) else mapped[0]

    def _needs_split(self, config: dict[str, object]) -> bool:
        """Keras 3 lacks Keras 2's hard sigmoid: other layers can do it behind a layer, not inside a recurrent one."""
        is_keras2 = config.get("activation") == activations.KERAS2_HARD_SIGMOID
        return is_keras2 and self.target is Flavour.KERAS3 and "recurrent_activation" not in config

    def _without_activation(self, class_name: str, config: dict[str, object], name: str, layer: Any) -> list[Any]:
        return self.build(class_name, {**config, "activation": "linear"}, f"{name}_linear", layer)

    def _hard_sigmoid(self, name: str) -> list[Any]:
        """clip(0.2 x + 0.5, 0, 1)."""
        layers = import_keras(self.target).layers
        self._note(name, "activation split off", "hard_sigmoid of Keras 2: Rescaling(0.2, 0.5) and ReLU(1)")
        return [layers.Rescaling(0.2, 0.5, name=f"{name}_scale"), layers.ReLU(max_value=1.0, name=name)]

    def _values(self, config: dict[str, object], name: str) -> dict[str, object]:
        return {key: self._value(key, value, name) for key, value in config.items()}

    def _value(self, key: str, value: Any, name: str) -> Any:
        """Turn one configuration value into one of the target flavour."""
        if key in _ACTIVATION_KEYS and isinstance(value, str):
            if self.target is Flavour.TF_KERAS and activations.is_carried(value):
                self._note(name, "activation carried", f"{value} of Keras 3")
            return activations.build(value, self.target, name)
        for ending, module in _OBJECTS.items():
            if key.endswith(ending) and isinstance(value, dict):
                return self._object(module, value, key, name)
        return list(value) if type(value).__name__ in ("ListWrapper", "_TupleWrapper") else value

    def _object(self, module: str, serialized: dict[str, object], key: str, name: str) -> Any:
        translated = translate(module, serialized, import_keras(self.target))
        if translated is None:
            self._note(name, "dropped", f"{key} {serialized['class_name']}")
            return "zeros" if module == "initializers" else None
        return translated

    def _note(self, name: str, rule: Rule, detail: str) -> None:
        self.notes.append(BridgeNote(name, rule, detail))

    def _refusal(self, layer: Any) -> ModelError:
        kind = type(layer)
        if kind.__module__.startswith("tensorflow_model_optimization"):
            return ModelError(
                f"Layer {layer.name!r} is a {kind.__name__} of TFMOT; strip the wrappers first (strip_pruning, "
                "strip_clustering, or the float model of the pass)."
            )
        other = "tf_keras" if self.target is Flavour.TF_KERAS else "Keras 3"
        register = f"write it for {other} as well and call edgeopt.bridge.register with the two classes"
        return ModelError(
            f"Layer {layer.name!r} is of the class {kind.__name__}, which has no counterpart in {other}; "
            f"{ADVICE.get(kind.__name__, register)}, or use what needs no bridge (convert, channels, distil, finetune)."
        )


def _check(layer: Any, config: dict[str, object]) -> None:
    if config.get("data_format") == "channels_first":
        raise ModelError(
            f"Layer {layer.name!r} has data_format='channels_first', which TFLite does not run; rebuild the model with "
            "data_format='channels_last'."
        )
    if config.get("stateful"):
        raise ModelError(
            f"Layer {layer.name!r} is stateful, and its state cannot be carried; rebuild it with stateful=False."
        )
    if getattr(layer, "quantization_mode", None) is not None:
        raise ModelError(
            f"Layer {layer.name!r} was quantised by Keras itself; use the model as it was before model.quantize(...)."
        )
