"""Copying weights between two layers that are the same layer in two flavours."""

from __future__ import annotations

from typing import Any

from ...errors import ConversionError
from ..load import flavour_of

# Attributes under which both flavours keep the layers inside a layer, where the order of all weights may differ:
# Keras 3 lists them layer by layer, tf_keras all trainable ones first.
_INNER = (("forward_layer", "backward_layer"), ("layer",), ("cell",), ("cells",))


def copy_weights(source: Any, target: Any) -> None:
    """Give `target` the weights of `source`.

    Raises:
        ConversionError: The two have different weights.
    """
    if flavour_of(source) is not None:
        return  # a model inside a layer was bridged as a whole, weights included
    for names in _INNER:
        if all(hasattr(item, name) for name in names for item in (source, target)) and _owns_all(source, names):
            for name in names:
                _copy_each(getattr(source, name), getattr(target, name))
            return
    _copy_own(source, target)


def set_trainable(source: Any, target: Any, trainable: bool) -> None:
    """Freeze `target` as `source` is frozen, inner layers included; `trainable` is what the models around allow."""
    target.trainable = trainable
    if not trainable or flavour_of(source) is not None:
        return
    for names in _INNER:
        for name in names:
            ours, theirs = _as_list(getattr(source, name, None)), _as_list(getattr(target, name, None))
            for inner, copied in zip(ours, theirs, strict=False):
                if hasattr(inner, "trainable") and hasattr(copied, "trainable") and flavour_of(inner) is None:
                    set_trainable(inner, copied, bool(inner.trainable))


def _owns_all(layer: Any, names: tuple[str, ...]) -> bool:
    """Whether every weight of `layer` belongs to the layers inside it (not so for SpectralNormalization)."""
    inner = [item for name in names for item in _as_list(getattr(layer, name))]
    return len(layer.weights) == sum(len(item.weights) for item in inner if hasattr(item, "weights"))


def _copy_each(source: Any, target: Any) -> None:
    for inner, copied in zip(_as_list(source), _as_list(target), strict=True):
        copy_weights(inner, copied)


def _copy_own(source: Any, target: Any) -> None:
    import numpy as np

    ours, theirs = source.weights, target.weights
    shapes = [tuple(weight.shape) for weight in ours], [tuple(weight.shape) for weight in theirs]
    if shapes[0] != shapes[1]:
        raise ConversionError(
            f"Layer {source.name!r} ({type(source).__name__}) has weights of shapes {shapes[0]} and its counterpart "
            f"{type(target).__name__} of shapes {shapes[1]}; both must create the same weights in the same order."
        )
    for weight, copied in zip(ours, theirs, strict=True):
        dtype = str(getattr(copied.dtype, "name", copied.dtype))
        copied.assign(np.asarray(weight.numpy(), dtype=dtype))
    settle(target)


def settle(layer: Any) -> None:
    """Let a layer see weights that it was given: Normalization computes with constants made from them."""
    finalize = getattr(layer, "finalize_state", None)
    if finalize is not None and layer.weights:
        finalize()


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
