"""Nested arguments, and the references that stand in them for the tensors of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ref:
    """One tensor of a flattened graph; two references are the same tensor when their indices are equal."""

    index: int
    shape: tuple[int | None, ...] = field(compare=False)
    dtype: str = field(compare=False)

    @property
    def is_float(self) -> bool:
        """Whether the tensor holds floating-point numbers."""
        return "float" in self.dtype


def map_structure(function: Callable[[Any], Any], structure: Any) -> Any:
    """Apply `function` to each leaf of nested tuples, lists and mappings; returns plain tuples, lists and dicts."""
    if isinstance(structure, Mapping):
        return {key: map_structure(function, value) for key, value in structure.items()}
    if isinstance(structure, tuple):
        return tuple(map_structure(function, value) for value in structure)
    if isinstance(structure, list):
        return [map_structure(function, value) for value in structure]
    return function(structure)


def flatten_structure(structure: Any) -> list[Any]:
    """Return the leaves in the order of both Keras flavours: mappings by sorted key."""
    return list(_leaves(structure))


def refs_in(structure: Any) -> list[Ref]:
    """Return the references among the leaves of `structure`."""
    return [leaf for leaf in _leaves(structure) if isinstance(leaf, Ref)]


def _leaves(structure: Any) -> Iterator[Any]:
    if isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from _leaves(structure[key])
    elif isinstance(structure, (tuple, list)):
        for value in structure:
            yield from _leaves(value)
    else:
        yield structure
