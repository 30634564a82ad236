"""Which layers can be trained quantised, and how: a table by class name, and why the others cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import ModelError
from ...models.bridge import activations
from ...models.detect import Flavour
from .activations import FUNCTIONS
from .report import Reason

WEIGHTED = frozenset(
    {
        "Conv1D",
        "Conv1DTranspose",
        "Conv2D",
        "Conv2DTranspose",
        "Dense",
        "DepthwiseConv1D",
        "DepthwiseConv2D",
    }
)
SEPARABLE = frozenset({"SeparableConv1D", "SeparableConv2D"})
ATTENTION = "MultiHeadAttention"
AFFINE = frozenset({"BatchNormalization", "Normalization", "Rescaling"})
MERGES = frozenset({"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"})
ACTIVATIONS = frozenset({"Activation", "ReLU", "Softmax"})
# One integer operator, with a range of its own.
RANGED = frozenset({"Concatenate", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "LeakyReLU", "PReLU"})
# What changes its input in training only, and is not in the file.
TRAINING_ONLY = frozenset(
    {
        "ActivityRegularization",
        "AlphaDropout",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "Identity",
        "RandomBrightness",
        "RandomContrast",
        "RandomFlip",
        "RandomHeight",
        "RandomRotation",
        "RandomTranslation",
        "RandomWidth",
        "RandomZoom",
        "SpatialDropout1D",
        "SpatialDropout2D",
    }
)
# The output holds values of the input (or means of a few): the range stays, and the converter knows it.
PASSING = TRAINING_ONLY | frozenset(
    {
        "AveragePooling1D",
        "AveragePooling2D",
        "Cropping1D",
        "Cropping2D",
        "Flatten",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "MaxPooling1D",
        "MaxPooling2D",
        "Permute",
        "RepeatVector",
        "Reshape",
        "UpSampling1D",
        "UpSampling2D",
        "ZeroPadding1D",
        "ZeroPadding2D",
    }
)
PASSING_OPERATIONS = frozenset(
    {"expand_dims", "get_item", "repeat", "reshape", "squeeze", "transpose", "activations.linear"}
)
_RECURRENT = ("LSTM", "GRU", "RNN", "Bidirectional")

Objection = tuple[Reason, str]


def objection(layer: Any, shapes: list[tuple[int | None, ...]]) -> Objection | None:
    """Return why a tf_keras layer stays float, or None.

    Args:
        layer: The layer.
        shapes: The shapes of its inputs.
    """
    kind = type(layer).__name__
    if type(layer).__module__.split(".")[0] != "tf_keras":
        return "unknown layer", f"{kind} is a custom layer; keep it out of the model, or build it of Keras' layers"
    if is_recurrent(layer):
        return "recurrent", f"{kind} is not trained quantised; convert the model with calibration data instead"
    rule = _OBJECTIONS.get(kind, _KNOWN.get(kind))
    if rule is None:
        return "unknown layer", f"edgeopt has no rule for {kind}"
    if any(len(shape) > 4 for shape in shapes):
        return "no int8 operator", f"{kind} on {max(map(len, shapes))} dimensions"
    return rule(layer, shapes)


def is_recurrent(layer: Any) -> bool:
    """Say whether a layer runs over time steps."""
    return any(word in type(layer).__name__ for word in _RECURRENT)


def function_name(layer: Any) -> str | None:
    """Return the activation of a layer by the name in `activations.FUNCTIONS`; None for one that is not there."""
    kind = type(layer).__name__
    if kind == "ReLU":
        limit = None if layer.max_value is None else float(layer.max_value)
        plain = not layer.negative_slope and not layer.threshold and limit in (None, 6.0)
        return {None: "relu", 6.0: "relu6"}[limit] if plain else None
    if kind == "Softmax":
        return "softmax"
    try:
        name = activations.canonical(layer.activation, Flavour.TF_KERAS, str(layer.name))
    except ModelError:
        return None
    return name if name in FUNCTIONS else None


def _accept(layer: Any, shapes: list[tuple[int | None, ...]]) -> Objection | None:
    return None


def _weighted(layer: Any, shapes: list[tuple[int | None, ...]]) -> Objection | None:
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "channels first", "TFLite's kernels want the channels last; set data_format='channels_last'"
    if type(layer).__name__ == "SeparableConv1D" and layer.padding == "causal":
        return "no int8 operator", "causal padding; put a ZeroPadding1D before it and use padding='valid'"
    return None


def activation_objection(layer: Any) -> Objection | None:
    """Return why the activation of a layer stays float, or None."""
    if function_name(layer) is not None:
        return None
    name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
    return "no int8 operator", f"the activation {name!r}; use one of {', '.join(sorted(FUNCTIONS))}"


def _activation(layer: Any, shapes: list[tuple[int | None, ...]]) -> Objection | None:
    return activation_objection(layer)


def _relu(layer: Any, shapes: list[tuple[int | None, ...]]) -> Objection | None:
    if function_name(layer) is None and (layer.threshold or layer.max_value is not None):
        return "no int8 operator", "a ReLU with a threshold or another limit than 6; use ReLU or ReLU(max_value=6)"
    return None


def _softmax(layer: Any, shapes: list[tuple[int | None, ...]]) -> Objection | None:
    axis = layer.axis if isinstance(layer.axis, int) else -2
    if axis % len(shapes[0]) != len(shapes[0]) - 1:
        return "no int8 operator", "a Softmax over another axis than the last"
    return None


def _affine(layer: Any, shapes: list[tuple[int | None, ...]]) -> Objection | None:
    """Scale and offset must be numbers, or one number for each channel."""
    channels, kind = shapes[0][-1], type(layer).__name__
    names = {"Rescaling": ("scale", "offset"), "Normalization": ("mean", "variance")}.get(kind, ("moving_mean",))
    sizes = {_size(getattr(layer, name)) for name in names}
    last = kind != "BatchNormalization" or list(layer.axis) == [len(shapes[0]) - 1]
    if not last or not sizes <= {1, channels} or getattr(layer, "invert", False):
        return "no int8 operator", f"{kind} with other numbers than one for each channel of the last axis"
    return None


def _size(part: Any) -> int:
    import numpy as np

    return int(np.size(part))


def _merge(layer: Any, shapes: list[tuple[int | None, ...]]) -> Objection | None:
    if len({len(shape) for shape in shapes}) > 1:
        return "no int8 operator", "inputs of different ranks; Reshape them to one rank"
    return None


_Rule = Callable[[Any, list[tuple[int | None, ...]]], Objection | None]
_KNOWN: dict[str, _Rule] = dict.fromkeys(RANGED | PASSING, _accept)
_OBJECTIONS: dict[str, _Rule] = {
    **dict.fromkeys(WEIGHTED | SEPARABLE, _weighted),
    **dict.fromkeys(AFFINE, _affine),
    **dict.fromkeys(MERGES, _merge),
    ATTENTION: _accept,
    "Activation": _activation,
    "ReLU": _relu,
    "Softmax": _softmax,
}
