"""Where a standard layer of Keras 3 and its namesake in tf_keras differ: arguments, class names, and what to advise.

Configurations are translated to Keras 3's terms by `FROM_TF_KERAS`, and from them by `TO_TF_KERAS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_Config = dict[str, Any]
_Named = tuple[str, _Config]

# Layers that hold layers: the configuration keys to fill with mapped ones.
WRAPPED: dict[str, tuple[str, ...]] = {
    "Bidirectional": ("layer", "backward_layer"),
    "RNN": ("cell",),
    "SpectralNormalization": ("layer",),
    "StackedRNNCells": ("cells",),
    "TimeDistributed": ("layer",),
}

# Entries of configurations that are no settings: shapes seen at build time, how to compute, where random numbers start.
IGNORED = (
    "autocast", "batch_input_shape", "build_config", "compile_config", "dtype", "dynamic", "force_generator",
    "implementation", "input_length", "key_shape", "name", "num_constants", "quantization_config", "query_shape",
    "rng_type", "seed", "trainable", "use_cudnn", "value_shape",
)  # fmt: skip

# Layers whose weights are laid out as "implementation" says: for others it says how to compute.
LAID_OUT = ("LocallyConnected1D", "LocallyConnected2D")

# Arguments that a constructor takes without naming them, and a named argument of the classes that do.
UNNAMED = {"zero_output_for_mask": "return_sequences"}

LOOKUPS = ("IntegerLookup", "StringLookup", "TextVectorization")
ADVICE = {
    "IntegerLookup": "look the numbers up before the model, where the data is read",
    "StringLookup": "look the strings up before the model, where the data is read",
    "TextVectorization": "split the text before the model, where the data is read",
    "LocallyConnected1D": "use Conv1D",
    "LocallyConnected2D": "use Conv2D",
    "RMSNormalization": "use LayerNormalization",
}


def _leaky_relu_from_tf(config: _Config) -> _Named:
    return "LeakyReLU", {"negative_slope": float(config["alpha"])}


def _thresholded_relu_from_tf(config: _Config) -> _Named:
    return "ReLU", {"threshold": float(config["theta"])}


def _built_axis_from_tf(class_name: str) -> Callable[[_Config], _Named]:
    """tf_keras stores the axis of a built normalisation layer as a list."""

    def adapt(config: _Config) -> _Named:
        axis = config["axis"]
        if isinstance(axis, (list, tuple)):
            axis = int(axis[0]) if len(axis) == 1 else [int(value) for value in axis]
        return class_name, {**_without_renorm(config), "axis": axis}

    return adapt


def _without_renorm(config: _Config) -> _Config:
    """The settings of batch renormalisation mean nothing while it is off."""
    if config.get("renorm"):
        return config
    return {key: value for key, value in config.items() if not key.startswith("renorm")}


def _batch_normalization_to_tf(config: _Config) -> _Named:
    return "BatchNormalization", _without_renorm(config)


def _leaky_relu_to_tf(config: _Config) -> _Named:
    return "LeakyReLU", {"alpha": config["negative_slope"]}


def _activation_to_tf(config: _Config) -> _Named:
    """TFMOT knows these two as layers, not as activations."""
    if config["activation"] == "relu6":
        return "ReLU", {"max_value": 6.0}
    if config["activation"] == "leaky_relu":
        return "LeakyReLU", {"alpha": 0.2}
    return "Activation", config


FROM_TF_KERAS: dict[str, Callable[[_Config], _Named]] = {
    "BatchNormalization": _built_axis_from_tf("BatchNormalization"),
    "LayerNormalization": _built_axis_from_tf("LayerNormalization"),
    "LeakyReLU": _leaky_relu_from_tf,
    "ThresholdedReLU": _thresholded_relu_from_tf,
}
TO_TF_KERAS: dict[str, Callable[[_Config], _Named]] = {
    "Activation": _activation_to_tf,
    "BatchNormalization": _batch_normalization_to_tf,
    "LeakyReLU": _leaky_relu_to_tf,
}
