"""Values from outside, held against the type that they are declared as: dataclasses, typed dictionaries and plain ones.

One way from JSON or TOML to fields that may be trusted, instead of a check wherever one is used.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Union

from ..errors import nearest

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    type(None): "null",
    list: "a list",
    dict: "a table",
}
_LONGEST = 80  # characters of a value that a message quotes
_MOST_WHOLE = 1 << 64


class Unfit(ValueError):
    """A value of another type than its place asks for; the message is a clause, such as ``budget[0].limit is 'x'``."""


def fitted(kind: Any, value: Any, name: str) -> Any:
    """Return `value` as the type `kind`; a whole number may stand for a float, a list for a tuple.

    Args:
        kind: A dataclass, a `TypedDict`, a plain type, or what `typing` makes of them. Of a `TypedDict` keys that it
            does not have are let through; a dataclass is made of exactly its fields.
        value: As JSON or TOML gives it.
        name: What the message calls it.

    Raises:
        Unfit: The value, or one inside of it, is of another type, is missing, or is a number that is not finite.
        EdgeoptError: A dataclass does not take the values.

    Example:
        >>> fitted(dict[str, float], {"p50": "1"}, "latency_ms")
        Unfit: latency_ms.p50 is '1', expected a finite number
    """
    return _fitted(kind, value, name)


def item(kind: Any, table: Mapping[str, Any], key: str) -> Any:
    """Return what stands at `key` of a table; see `fitted`.

    Raises:
        Unfit: It is missing, or of another type.
    """
    if key not in table:
        raise Unfit(f"{key} is missing")
    return fitted(kind, table[key], key)


def _fitted(kind: Any, value: Any, name: str) -> Any:
    if kind is Any or kind is object:
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, name)
    if isinstance(kind, type) and is_dataclass(kind):
        return _made(kind, value, name)
    if typing.is_typeddict(kind):
        return _table(kind, value, name)
    if origin in (dict, Mapping):
        _require(dict, value, name)
        return {key: _fitted(arguments[1], inner, f"{name}.{key}") for key, inner in value.items()}
    if origin in (list, Sequence):
        _require(list, value, name)
        return [_fitted(arguments[0], inner, f"{name}[{place}]") for place, inner in enumerate(value)]
    if origin is tuple:
        return _row(arguments, value, name)
    _require(kind, value, name)
    return value


def _require(kind: type, value: Any, name: str) -> None:
    """Raise unless a value is of a type that JSON has."""
    whole = type(value) is int and -_MOST_WHOLE < value < _MOST_WHOLE
    fits = {
        int: whole,
        float: whole or (isinstance(value, float) and math.isfinite(value)),
        list: isinstance(value, (list, tuple)),
        dict: isinstance(value, Mapping) and all(isinstance(key, str) for key in value),
    }
    if not (fits[kind] if kind in fits else isinstance(value, kind)):
        raise _unfit(value, name, _WORDS[kind])


def _unfit(value: Any, name: str, expected: str) -> Unfit:
    shown = repr(value) if type(value) in (int, float, str, bool) else f"a {type(value).__name__}"
    shown = "null" if value is None else shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
    return Unfit(f"{name[-2 * _LONGEST :]!a}"[1:-1] + f" is {shown}, expected {expected}")


def _one_of(kinds: tuple[Any, ...], value: Any, name: str) -> Any:
    """Return a value as one of several types, of which all but one are plain or null."""
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    for kind in others[:-1]:
        try:
            return _fitted(kind, value, name)
        except Unfit:
            continue
    return _fitted(others[-1], value, name)


def _row(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    _require(list, value, name)
    kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
    if len(kinds) != len(value):
        raise _unfit(value, name, f"a list of {len(kinds)}")
    return tuple(
        _fitted(kind, inner, f"{name}[{place}]") for place, (kind, inner) in enumerate(zip(kinds, value, strict=True))
    )


@cache
def _declared(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _table(kind: Any, value: Any, name: str) -> dict[str, Any]:
    """Return a table with the keys of a `TypedDict`; others are let through."""
    _require(dict, value, name)
    for key in sorted(kind.__required_keys__):
        if key not in value:
            raise Unfit(f"{name} lacks {key}")
    declared = _declared(kind)
    return {
        key: _fitted(declared[key], inner, f"{name}.{key}") if key in declared else inner
        for key, inner in value.items()
    }


def _made(kind: Any, value: Any, name: str) -> Any:
    """Return the dataclass with these fields, whose own checks come on top."""
    if isinstance(value, kind):
        return value
    _require(dict, value, name)
    known = {field.name: field for field in fields(kind) if field.init}
    for key in value:
        if key not in known:
            raise Unfit(f"{name} has the unknown key {key[:_LONGEST]!r}{nearest(key[:_LONGEST], known).rstrip('.?')}")
    for key, field in known.items():
        if key not in value and field.default is MISSING and field.default_factory is MISSING:
            raise Unfit(f"{name} lacks {key}")
    declared = _declared(kind)
    return kind(**{key: _fitted(declared[key], inner, f"{name}.{key}") for key, inner in value.items()})
