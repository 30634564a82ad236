"""Labels of one output or of several, and sample weights, which come in the same structures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError

Array = npt.NDArray[Any]
# An array; or one for each output, by its name or in the model's order.
Labels = Array | Mapping[str, Array] | tuple[Array, ...]


def read_labels(given: Any, count: int | None, source: str) -> Labels | None:
    """Return labels as arrays.

    Args:
        given: Whatever NumPy takes; a dict or list with an array for each of several outputs; or None.
        count: Samples that they belong to, which tells a list of rows from a list of outputs; None when not known.
        source: Where they came from, for messages.

    Raises:
        DataError: Rows of different lengths.

    Example:
        >>> read_labels([np.zeros(6), np.ones((6, 2))], 6, "data")
        (array([0., 0., ...]), array([[1., 1.], ...]))
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        return {str(name): _array(item, source) for name, item in given.items()}
    if isinstance(given, (list, tuple)) and given and all(hasattr(item, "shape") for item in given):
        arrays = tuple(_array(item, source) for item in given)
        rows = len(arrays) == count and any(len(item) != count for item in arrays if item.ndim)
        if not rows and all(item.ndim for item in arrays):
            return arrays if len(arrays) > 1 else arrays[0]
    return _array(given, source)


def leaves(labels: Labels | None) -> list[Array]:
    """Return the arrays, one for each output."""
    if labels is None:
        return []
    if isinstance(labels, Mapping):
        return list(labels.values())
    return list(labels) if isinstance(labels, tuple) else [labels]


def map_labels(function: Callable[[Array], Array], labels: Labels) -> Labels:
    """Return what `function` makes of each array, in the same structure."""
    if isinstance(labels, Mapping):
        return {name: function(item) for name, item in labels.items()}
    return tuple(function(item) for item in labels) if isinstance(labels, tuple) else function(labels)


def join_labels(parts: Sequence[Labels], source: str) -> Labels:
    """Put the labels of several batches behind each other.

    Raises:
        DataError: Batches with other outputs than the first.
    """
    first = parts[0]
    if any(_outputs(part) != _outputs(first) for part in parts):
        raise DataError(f"{source} yields labels of other outputs than at first; expected the same each time.")
    if isinstance(first, Mapping):
        return {name: np.concatenate([part[name] for part in parts]) for name in first}  # type: ignore[call-overload]
    if isinstance(first, tuple):
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))
    return np.concatenate(parts)  # type: ignore[arg-type]


def _outputs(labels: Labels) -> Any:
    if isinstance(labels, Mapping):
        return set(labels)
    return len(labels) if isinstance(labels, tuple) else None


def _array(given: Any, source: str) -> Array:
    try:
        return np.asarray(given)
    except ValueError as error:
        raise DataError(
            f"{source} has labels whose rows differ in length; expected one row a sample, or for a model with several "
            "outputs a list of arrays or a dict by output name."
        ) from error
