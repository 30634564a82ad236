"""Compute in float32 a model that was trained in mixed precision: TFLite has kernels for float32 alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import ConversionError
from ..detect import Flavour
from ..spec import LoadedModel
from .patching import replace_attribute


@contextmanager
def full_precision(loaded: LoadedModel) -> Iterator[list[str]]:
    """Let every layer compute in float32 for as long as the context lasts; yields the names of those that would not.

    Mixed precision (``mixed_float16``, ``mixed_bfloat16``) keeps its variables in float32, so nothing is lost.

    Raises:
        ConversionError: A layer keeps its variables in another type than float32.
    """
    layers = [layer for layer in (*loaded.layer_objects, loaded.model) if _computes_in(layer) != "float32"]
    undo: list[Callable[[], None]] = []
    try:
        for layer in layers:
            kept = {_type_name(variable.dtype) for variable in getattr(layer, "variables", ())}
            strange = sorted(kind for kind in kept if kind in ("float16", "bfloat16", "float64"))
            if strange:
                raise ConversionError(
                    f"Layer {layer.name!r} keeps its weights as {strange[0]}, but TFLite computes in float32; "
                    "build the model again with dtype='float32' (or a mixed_ policy) and copy the weights."
                )
            undo += _as_float32(layer, loaded.flavour)
        yield [layer.name for layer in layers if layer is not loaded.model]
    finally:
        for restore in reversed(undo):
            restore()


def _computes_in(layer: Any) -> str:
    """The floating-point type that a layer computes in; float32 for what has none."""
    kind = str(getattr(layer, "compute_dtype", None) or "float32")
    return kind if kind in ("float16", "bfloat16", "float64") else "float32"


def _type_name(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))


def _as_float32(layer: Any, flavour: Flavour) -> list[Callable[[], None]]:
    if flavour is Flavour.KERAS3:
        import keras

        return [replace_attribute(layer, "_dtype_policy", keras.dtype_policies.get("float32"))]
    import tensorflow as tf
    import tf_keras

    policy = tf_keras.mixed_precision.Policy("float32")
    return [
        replace_attribute(layer, "_dtype_policy", policy),
        replace_attribute(layer, "_compute_dtype_object", tf.float32),
    ]
