"""Names in a flattened graph: the user's own, made unique and legal on both sides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .notes import BridgeNote

# What both Keras 3 (no slash) and a TensorFlow name scope (no other sign in front) take.
_ILLEGAL = re.compile(r"[^A-Za-z0-9_.\\>-]")


class Namer:
    """Gives each layer object one name; layers of the outermost model keep theirs when nested ones clash."""

    def __init__(self) -> None:
        self.notes: list[BridgeNote] = []
        self._names: dict[int, str] = {}
        self._owners: list[Any] = []  # keeps the objects alive, so that their ids stay theirs
        self._taken: set[str] = set()
        self._has_output: set[int] = set()

    def reserve(self, operations: Iterable[Any]) -> None:
        """Name the layers of the outermost model first."""
        for operation in operations:
            self.name_of(operation)

    def name_of(self, operation: Any, parent: Any = None) -> str:
        """Return the name of a layer or operation, prefixed with that of its model when it is taken."""
        known = self._names.get(id(operation))
        if known is not None:
            return known
        own = str(operation.name)
        name = legal(own)
        if name in self._taken and parent is not None:
            name = legal(f"{parent.name}_{own}")
        name = self.fresh(name)
        self._names[id(operation)] = name
        self._owners.append(operation)
        if name != own:
            self.notes.append(
                BridgeNote(name, "renamed", f"was {own!r}" + (f" in {parent.name!r}" if parent is not None else ""))
            )
        return name

    def fresh(self, wanted: str) -> str:
        """Take a name that nobody has: `wanted`, or `wanted` with a number behind it."""
        name, number = legal(wanted), 0
        while name in self._taken:
            number += 1
            name = f"{legal(wanted)}_{number}"
        self._taken.add(name)
        return name

    def output_of(self, model: Any) -> str:
        """Name an output that a nested model makes: the model's own name, which its layers have left free."""
        name = self.name_of(model)
        if id(model) in self._has_output:
            return self.fresh(name)
        self._has_output.add(id(model))
        return name


def legal(name: str) -> str:
    """Replace what a layer's name must not hold in one of the flavours."""
    name = _ILLEGAL.sub("_", name)
    return name if re.match(r"[A-Za-z0-9.]", name) else f"layer{name}"
