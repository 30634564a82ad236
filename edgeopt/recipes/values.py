"""Checks of single values in recipes and options: one message for each kind of value."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import RecipeError, nearest


def type_name(value: Any) -> Any:
    """Return the name of a type: of ``tf.int8`` and ``np.int8`` as well as of "int8" itself; anything else as it is."""
    return getattr(value, "name", getattr(value, "__name__", value))


def as_whole(value: Any) -> int | None:
    """Return a whole number, NumPy's included, as Python's; None for anything else, True and False included."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def is_number(value: Any) -> bool:
    """Return whether `value` is a finite number; True and False are none."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def require_whole(name: str, value: Any, least: int = 0, why: str = "") -> None:
    """Raise unless `value` is a whole number of at least `least`; True and False are none.

    Args:
        name: The option, as the message calls it.
        value: What was given.
        least: The smallest number that is allowed.
        why: Said behind the number, where it needs a reason.

    Raises:
        RecipeError: It is of another type, or too small.

    Example:
        >>> require_whole("epochs", 2.5)
        RecipeError: Received epochs=2.5; expected a whole number of at least 0.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RecipeError(f"Received {name}={value!r}; expected a whole number of at least {least}{why}.")


def require_number(name: str, value: Any, expected: str, fits: Callable[[float], bool]) -> None:
    """Raise unless `value` is a finite number for which `fits` is true; `expected` says in words what would be.

    Raises:
        RecipeError: It is of another type, not finite, or does not fit.

    Example:
        >>> require_number("sparsity", 1, "the fraction of zeros, in [0, 1)", lambda value: 0 <= value < 1)
        RecipeError: Received sparsity=1; expected the fraction of zeros, in [0, 1).
    """
    if not is_number(value) or not fits(value):
        raise RecipeError(f"Received {name}={value!r}; expected {expected}.")


def require_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise unless `value` is one of `choices`; the nearest one is named.

    Raises:
        RecipeError: It is none of them.
    """
    valid = list(choices)
    if value not in valid:
        raise RecipeError(f"Received {name}={value!r}{nearest(str(value), valid)}")
