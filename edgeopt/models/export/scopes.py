"""Operations named by the layers that they are of.

Keras 3 enters the scope of a layer twice, first to build it, and TensorFlow makes the second name unique: operations of
the layer ``re_lu`` come to stand in ``re_lu_1``, which is the name of another layer. While the model is traced inside
`named`, they stand in the layer's own name, within those of the models around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..detect import Flavour
from ..spec import LoadedModel
from .patching import replace_attribute


@contextmanager
def named(loaded: LoadedModel) -> Iterator[None]:
    """Let the operations of a Keras 3 model stand in scopes of its layers' own names while it lasts."""
    undo: list[Callable[[], None]] = []
    try:
        if loaded.flavour is Flavour.KERAS3:
            around: list[str] = []
            for layer in (loaded.model, *loaded.layer_objects):
                undo.append(replace_attribute(layer, "call", _bind(layer, around)))
        yield
    finally:
        for restore in reversed(undo):
            restore()


def _bind(layer: Any, around: list[str]) -> Callable[..., Any]:
    original = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        import tensorflow as tf

        around.append(layer.name)
        try:
            with tf.name_scope("/".join(around) + "/"):  # with a slash at its end a scope is entered again as it is
                return original(*args, **kwargs)
        finally:
            around.pop()

    return call
