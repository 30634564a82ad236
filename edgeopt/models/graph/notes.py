"""What the bridge says of each thing that is not on the other side as it was on this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Rule = Literal[
    "flattened",  # a nested model was replaced by its layers
    "traced",  # a subclassed model was turned into a graph
    "renamed",  # the layer has another name on the other side
    "class changed",  # another class does the same there
    "operation to layer",  # a bare operation became a layer of its own
    "operation carried",  # a bare operation without a layer became a `KerasOperation`
    "activation carried",  # an activation the other flavour lacks became a registered function
    "activation split off",  # an activation became layers of its own
    "python carried",  # the Python function of a Lambda layer was taken over
    "dropped",  # an initialiser, regulariser or constraint that the other side does not know
    "float32",  # a mixed or half precision policy was dropped
]


@dataclass(frozen=True)
class BridgeNote:
    """One thing that is not on the other side as it was on this one.

    Attributes:
        layer: The layer's (or nested model's) name in the bridged model.
        rule: What happened, from the closed list of `Rule`.
        detail: The particulars, in words.
    """

    layer: str
    rule: Rule
    detail: str

    def to_dict(self) -> dict[str, str]:
        """Return the note as plain values."""
        return {"layer": self.layer, "rule": self.rule, "detail": self.detail}
