"""What the bridge hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..graph.notes import BridgeNote


@dataclass(frozen=True)
class BridgeResult:
    """A model in the other flavour, and the proof that it computes the same.

    Attributes:
        model: The bridged model, uncompiled, in float32.
        max_difference: Largest absolute difference of any output element, on seeded random inputs.
        relative_difference: Largest of the outputs' `max_difference` / largest absolute value.
        notes: What was mapped to something other than its namesake.
    """

    model: Any
    max_difference: float
    relative_difference: float
    notes: tuple[BridgeNote, ...] = ()
