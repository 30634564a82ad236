"""Pairs of custom layers: the same layer written for Keras 3 and for tf_keras."""

from __future__ import annotations

from ...errors import UsageError
from ..detect import Flavour

_PAIRS: list[tuple[type, type]] = []


def register(keras_class: type, tf_keras_class: type) -> None:
    """Tell the bridge that two custom layer classes are the same layer in the two flavours.

    The counterpart is made from the other's `get_config()`, less the arguments that it does not take, and gets the
    other's weights in order; so both must create weights of the same shapes in the same order.

    Args:
        keras_class: A subclass of `keras.layers.Layer` (Keras 3).
        tf_keras_class: A subclass of `tf_keras.layers.Layer`.

    Raises:
        UsageError: An argument is no layer class of its flavour, or is registered with another counterpart already.

    Example:
        >>> edgeopt.bridge.register(Mine, MineTf)
    """
    _check(keras_class, "keras", "first")
    _check(tf_keras_class, "tf_keras", "second")
    for pair in _PAIRS:
        if pair == (keras_class, tf_keras_class):
            return
        if keras_class in pair or tf_keras_class in pair:
            raise UsageError(
                f"{keras_class.__name__} and {tf_keras_class.__name__} cannot be paired: {pair[0].__name__} and "
                f"{pair[1].__name__} are registered as a pair already; register each class once."
            )
    _PAIRS.append((keras_class, tf_keras_class))


def counterpart(layer_class: type, target: Flavour) -> type | None:
    """Return the class registered for `layer_class` in the flavour `target`, or None."""
    column = 0 if target is Flavour.KERAS3 else 1
    for pair in _PAIRS:
        if layer_class in pair:
            return pair[column]
    return None


def unregister(layer_class: type) -> None:
    """Forget the pair that `layer_class` is in, if any."""
    _PAIRS[:] = [pair for pair in _PAIRS if layer_class not in pair]


def _check(layer_class: type, package: str, position: str) -> None:
    bases = getattr(layer_class, "__mro__", ())
    if not any(base.__name__ == "Layer" and base.__module__.split(".")[0] == package for base in bases):
        raise UsageError(
            f"Received {layer_class!r} as the {position} argument of register; expected a subclass of "
            f"{package}.layers.Layer."
        )
