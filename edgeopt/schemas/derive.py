"""A type as JSON Schema (draft 2020-12): typed dictionaries, dataclasses, and what `typing` makes of plain types.

They are those that `edgeopt.artifact.typed` reads JSON by. A dataclass stands for the object of all its fields.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union

Schema = dict[str, Any]

_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
_SECTION = re.compile(r"^ {0,4}(?:Attributes|Args|Example|Raises|Returns):$", re.M)
_ENTRY = re.compile(r"^ {4}(\w+): (.+(?:\n {8,}.+)*)", re.M)


class Definitions:
    """The objects inside of a schema, by name; two of one name are told apart by their modules."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._names: dict[Any, str] = {}

    def reference(self, kind: Any) -> Schema:
        """Return a reference to the definition of an object."""
        if kind not in self._names:
            name: str = kind.__name__
            name = f"{kind.__module__.rpartition('.')[2]}.{name}" if name in self.schemas else name
            self._names[kind], self.schemas[name] = name, {}  # a type may hold itself
            self.schemas[name] = object_schema(kind, self)
        return {"$ref": f"#/$defs/{self._names[kind]}"}


def object_schema(kind: Any, known: Definitions) -> Schema:
    """Return the schema of an object: of a typed dictionary, or of a dataclass.

    Args:
        kind: The type; the attributes that its docstring names are the descriptions of its fields.
        known: Definitions of the objects inside; those of `kind` are put in.
    """
    hints = typing.get_type_hints(kind)
    names = list(hints) if typing.is_typeddict(kind) else [field.name for field in fields(kind)]
    required = [name for name in names if name in kind.__required_keys__] if typing.is_typeddict(kind) else names
    text, described = _told(kind)
    properties = {}
    for name in names:
        found = schema_of(hints[name], known)
        properties[name] = {**found, "description": described[name]} if name in described else found
    return {
        "description": text,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def schema_of(kind: Any, known: Definitions) -> Schema:
    """Return the schema of a type.

    Args:
        kind: The type.
        known: Definitions of the objects inside; those of `kind` are put in.

    Raises:
        TypeError: JSON has no such type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return _either([schema_of(item, known) for item in arguments])
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1], known)}
    if origin in (list, Sequence) or (origin is tuple and arguments[-1] is Ellipsis):
        return {"type": "array", "items": schema_of(arguments[0], known)}
    if origin is tuple:
        items = [schema_of(item, known) for item in arguments]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if typing.is_typeddict(kind) or is_dataclass(kind):
        return known.reference(kind)
    raise TypeError(f"{kind} is no type that JSON has")


def _either(found: list[Schema]) -> Schema:
    """Return the schema of one of several, in few words where they are plain."""
    if all(list(item) == ["type"] for item in found):
        return {"type": [item["type"] for item in found]}
    return {"anyOf": found}


def _told(kind: Any) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of a type, and of its attributes, on a line each."""
    text = inspect.getdoc(kind) or ""
    head, *sections = _SECTION.split(text)
    described: dict[str, str] = {}
    for section in sections[:1]:
        described |= {name: " ".join(words.split()) for name, words in _ENTRY.findall(section)}
    return " ".join(head.split()), described
