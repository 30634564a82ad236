"""Where a QAT model can be loaded."""

from __future__ import annotations

from typing import Any


def qat_scope() -> Any:
    """Return a context manager in which `tf_keras.models.load_model` knows the layers of a QAT model.

    Example:
        >>> with edgeopt.qat_scope():
        ...     qat_model = tf_keras.models.load_model("qat.keras")
    """
    import tf_keras

    from ...models.graph import tf_objects
    from .layers import OWN_LAYERS

    return tf_keras.utils.custom_object_scope(
        {f"edgeopt>{item.__name__}": item for item in (*OWN_LAYERS, tf_objects.KerasOperation)}
    )
