"""Activation functions by one set of names, Keras 3's, and their equals in either flavour.

The one name that means two things is ``hard_sigmoid``: relu6(x + 3) / 6 in Keras 3, clip(0.2 x + 0.5, 0, 1) in
Keras 2, which is called `KERAS2_HARD_SIGMOID` here. (Formulas: the docstrings of `keras.activations.hard_sigmoid` and
`tf_keras.activations.hard_sigmoid`.)
"""

from __future__ import annotations

from typing import Any

from ...errors import ModelError
from ..detect import Flavour
from ..load import import_keras

KERAS2_HARD_SIGMOID = "keras2_hard_sigmoid"

# Names that both flavours define alike; tf_keras calls silu swish.
_SHARED = frozenset(
    (
        "elu",
        "exponential",
        "gelu",
        "linear",
        "mish",
        "relu",
        "selu",
        "sigmoid",
        "silu",
        "softmax",
        "softplus",
        "softsign",
        "tanh",
    )
)
_ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}
# TensorFlow functions that people pass as `activation=tf.nn.relu6`.
_TENSORFLOW = _SHARED | {"relu6", "log_softmax", "leaky_relu", "swish"}


def canonical(function: Any, flavour: Flavour, owner: str) -> str:
    """Return the name of an activation function that a layer of `flavour` holds.

    Raises:
        ModelError: The function is the user's own.
    """
    if function is None:
        return "linear"
    name = str(getattr(function, "__name__", type(function).__name__))
    if flavour is Flavour.TF_KERAS:
        from ..graph import tf_objects

        for carried, registered in tf_objects.ACTIVATIONS.items():
            if function is registered:
                return carried
    if getattr(import_keras(flavour).activations, name, None) is function:
        if name == "hard_sigmoid" and flavour is Flavour.TF_KERAS:
            return KERAS2_HARD_SIGMOID
        return _ALIASES.get(name, name)
    if str(getattr(function, "__module__", "")).startswith("tensorflow.") and name in _TENSORFLOW:
        return _ALIASES.get(name, name)
    raise ModelError(
        f"Layer {owner!r} has the activation {name!r}, which is not one of Keras' own and cannot be carried to the "
        "other Keras; use a built-in activation, or put the function into a custom layer and register that with "
        "edgeopt.bridge.register."
    )


def is_known(name: str) -> bool:
    """Whether Keras 3 has an activation of this name (or it is Keras 2's hard sigmoid)."""
    return name == KERAS2_HARD_SIGMOID or hasattr(import_keras(Flavour.KERAS3).activations, name)


def is_carried(name: str) -> bool:
    """Whether tf_keras lacks the activation, so that a function registered by edgeopt stands in for it."""
    return name not in _SHARED and name != KERAS2_HARD_SIGMOID


def build(name: str, target: Flavour, owner: str) -> Any:
    """Return what to pass as `activation=` to a layer of `target`.

    Raises:
        ModelError: The target has no such activation.
    """
    if target is Flavour.KERAS3:
        if name == KERAS2_HARD_SIGMOID:
            raise ModelError(
                f"Layer {owner!r} uses Keras 2's hard_sigmoid, clip(0.2 x + 0.5, 0, 1), inside of it, and Keras 3's "
                "hard_sigmoid is another function; use sigmoid there, or stay in tf_keras."
            )
        return name
    if name == KERAS2_HARD_SIGMOID:
        return "hard_sigmoid"
    if name in _SHARED:
        return "swish" if name == "silu" else name
    from ..graph import tf_objects

    if name not in tf_objects.ACTIVATIONS:
        raise ModelError(
            f"Layer {owner!r} has the activation {name!r}, which needs more than one argument; use another one."
        )
    return tf_objects.ACTIVATIONS[name]
