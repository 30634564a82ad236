"""The arguments of an operation as JSON, with places for its tensors: what a `KerasOperation` layer saves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .structure import Ref, refs_in


def encode(args: tuple[Any, ...], kwargs: Mapping[str, object]) -> tuple[str, list[Ref]]:
    """Return the JSON of the arguments, and the tensors that go into its places, in their order.

    Raises:
        TypeError: An argument that has no JSON form.

    Example:
        >>> encode((Ref(7, (None, 4), "float32"), slice(0, 2)), {})
        ('{"args": [{"tensor": 0}, {"slice": [0, 2, null]}], "kwargs": {}}', [Ref(index=7, ...)])
    """
    refs = list(dict.fromkeys(refs_in((list(args), dict(kwargs)))))
    parts = {
        "args": [_encode(value, refs) for value in args],
        "kwargs": {key: _encode(value, refs) for key, value in kwargs.items()},
    }
    return json.dumps(parts), refs


def decode(template: str, tensors: list[Any]) -> tuple[tuple[Any, ...], dict[str, object]]:
    """Return arguments and keyword arguments with `tensors` in the places."""
    parts = json.loads(template)
    kwargs = {key: _decode(value, tensors) for key, value in parts["kwargs"].items()}
    return tuple(_decode(value, tensors) for value in parts["args"]), kwargs


def _encode(value: Any, refs: list[Ref]) -> Any:
    if isinstance(value, Ref):
        return {"tensor": refs.index(value)}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, refs) for item in value]}
    if isinstance(value, list):
        return [_encode(item, refs) for item in value]
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if hasattr(value, "tolist"):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"its argument {value!r} is a {type(value).__name__}")


def _decode(encoded: Any, tensors: list[Any]) -> Any:
    import numpy as np

    if isinstance(encoded, list):
        return [_decode(item, tensors) for item in encoded]
    if not isinstance(encoded, dict):
        return encoded
    if "tensor" in encoded:
        return tensors[encoded["tensor"]]
    if "tuple" in encoded:
        return tuple(_decode(item, tensors) for item in encoded["tuple"])
    if "slice" in encoded:
        return slice(*encoded["slice"])
    if "array" in encoded:
        return np.asarray(encoded["array"], dtype=encoded["dtype"])
    return Ellipsis
