"""A model in the middle of its pruning or clustering -> a copy without TFMOT's wrappers; the model trains on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...models.graph.read import Step
from ...models.graph.rebuild import copy_layer, read_native, rebuild
from ...models.graph.weights import copy_weights
from . import private

_READERS = {"PruneLowMagnitude": private.masked_arrays, "ClusterWeights": private.clustered_arrays}


def without_wrappers(model: Any) -> Any:
    """Return a copy whose layers hold the masked or clustered weights, or the model itself where nothing is wrapped.

    Args:
        model: A Keras model of either flavour.

    Raises:
        ModelError: A layer cannot be made again from its configuration.
    """
    if not any(_kind(layer) for layer in getattr(model, "layers", ())):
        return model
    copies: list[tuple[Any, Any]] = []

    def copy(layer: Any, step: Step) -> Any:
        inner = layer.layer if _kind(layer) else layer
        copied = copy_layer(inner, replace(step, name=str(inner.name)), {})
        copies.append((layer, copied))
        return copied

    plain = rebuild(read_native(model), model, copy)
    for layer, copied in copies:
        kind = _kind(layer)
        if kind:
            copied.set_weights(_READERS[kind](layer))
        elif layer.weights:
            copy_weights(layer, copied)
    return plain


def _kind(layer: Any) -> str:
    """Which of TFMOT's wrappers a layer is, or "": told by name, as TFMOT need not be there."""
    return next((base.__name__ for base in type(layer).__mro__ if base.__name__ in _READERS), "")
