"""A copy of a model to work on: a pass leaves the model that it was given as it was."""

from __future__ import annotations

from typing import Any

from ..errors import ModelError, UsageError, one_line
from .bridge import flatten
from .graph.weights import settle
from .load import flavour_of, import_keras


def copy_model(model: Any) -> Any:
    """Return an uncompiled copy of a model, of its flavour, with its weights and frozen layers.

    Nested models stay nested, except beside a Lambda layer, which no configuration makes anew: it is carried into a
    flat copy. Custom layers are made anew from their configurations. A subclassed model becomes the graph of layers
    that its `call` composes, if it does.

    Raises:
        UsageError: `model` is no Keras model.
        ModelError: It cannot be made from its configuration, or is subclassed and no graph.
    """
    flavour = flavour_of(model)
    if flavour is None:
        raise UsageError(f"Received {type(model).__name__}; expected a Keras model, of Keras 3 or of tf_keras.")
    if not getattr(model, "inputs", None) or any(type(layer).__name__ == "Lambda" for layer in _layers(model)):
        return flatten(model).model
    try:
        copied = import_keras(flavour).models.clone_model(model)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(
            f"The model {model.name!r} cannot be copied ({one_line(error)}); build it from layers, functional or "
            "sequential."
        ) from error
    layers, copies = list(_layers(model)), list(_layers(copied))
    if [type(layer) for layer in layers] != [type(layer) for layer in copies]:
        raise ModelError(f"The model {model.name!r} is not what its configuration makes; build it from layers.")
    for layer, twin in zip(layers, copies, strict=True):  # outer ones first: freezing one freezes what is inside
        twin.trainable = layer.trainable
    copied.set_weights(model.get_weights())
    for twin in copies:
        settle(twin)
    return copied


def _layers(model: Any) -> Any:
    return model._flatten_layers(include_self=True, recursive=True)
