"""Change an attribute of a Keras layer for a while, past the bookkeeping that Keras does on assignment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def replace_attribute(target: Any, name: str, value: Any) -> Callable[[], None]:
    """Set an attribute on the object itself and return what undoes it.

    Example:
        >>> restore = replace_attribute(layer, "unroll", True)
        >>> restore()
    """
    own = vars(target)
    had, old = name in own, own.get(name)
    object.__setattr__(target, name, value)

    def restore() -> None:
        if had:
            object.__setattr__(target, name, old)
        else:
            object.__delattr__(target, name)

    return restore
