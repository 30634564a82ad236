"""A model in memory, of whichever flavour, as the rest of edgeopt uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .detect import Flavour
from .spec import ModelSpec


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory.

    Attributes:
        model: The Keras model, or what ``tf.saved_model.load`` gave.
        flavour: Who made it.
        spec: Its inputs and outputs by name (outputs may be unknown until it is traced).
        call: Runs it in inference mode on one tensor per input, in the order of `spec`, and returns its own structure.
        source: The path it came from, or its name.
        warnings: What is odd about it but usable.
    """

    model: Any
    flavour: Flavour
    spec: ModelSpec
    call: Callable[[list[Any]], Any]
    source: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def layer_objects(self) -> list[Any]:
        """The layers, nested ones and those inside wrappers included; empty for a SavedModel."""
        flatten = getattr(self.model, "_flatten_layers", None)
        return [] if flatten is None else list(flatten(include_self=False, recursive=True))

    @property
    def layers(self) -> list[tuple[str, str]]:
        """Name and class of each layer."""
        return [(layer.name, type(layer).__name__) for layer in self.layer_objects]
