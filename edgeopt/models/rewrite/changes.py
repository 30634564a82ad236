"""What a rewrite did, and what it left as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ChangeRule = Literal[
    "flattened",  # a nested model was replaced by its layers
    "traced",  # a subclassed model was turned into a graph
    "operation to layer",  # a bare operation became a layer
    "folded",  # a layer that scales and shifts went into the weights of another one
    "merged",  # two layers that scale and shift became one
    "batch fixed",  # an input got a static batch size
]
LeftRule = Literal[
    "padding",  # the layer pads with zeros, which the offset would no longer be added to
    "activation",  # something not linear stands between
    "several-users",  # its input or output is used elsewhere, too
    "shared",  # a layer that is called more than once
    "no-neighbour",  # no convolution or Dense layer beside it
    "axis",  # other numbers than one for each channel of the last axis
    "weights",  # the neighbour has more weights than its class has: quantised, or adapted
    "half-precision",  # float16 and bfloat16 would round otherwise
    "integer-input",  # the layer turns integers into floats
    "masked",  # a mask ends at the operation, and a layer would pass it on
    "operation",  # no layer computes the same
    "python",  # the layer holds Python code
    "wrapped",  # a model inside of a wrapper layer
]

_REMEDIES: dict[str, str] = {
    "padding": (
        "train with padding='valid' behind it, or take the layer out and scale the data: an int8 file's input has a "
        "scale and a zero point of its own"
    ),
    "activation": "put it between the convolution and the activation, and train again",
    "several-users": "nothing: it computes something for each of them",
    "shared": "give each call a layer of its own",
    "no-neighbour": "nothing: the converter makes a multiplication and an addition of it",
    "axis": "use one number for each channel, on the last axis",
    "weights": "fix the model as it was before it was quantised or adapted",
    "half-precision": "load the weights into the same model in float32",
    "integer-input": "make the model's input float32",
    "masked": "drop mask_zero, and handle the padding in the data",
    "operation": "write it with layers",
    "python": "write it with Keras' own layers",
    "wrapped": "put the layers of the model into wrappers one by one",
}


class NotExactError(Exception):
    """A rewrite would change what the model computes; caught by the rewrite that tried."""

    def __init__(self, rule: LeftRule, reason: str) -> None:
        super().__init__(reason)
        self.rule: LeftRule = rule
        self.reason = reason


@dataclass(frozen=True)
class Change:
    """One thing that is otherwise in the new model.

    Attributes:
        layer: The layer's (operation's, nested model's) name in the model as it was.
        rule: What was done, from a closed list.
        detail: The particulars, in words.
    """

    layer: str
    rule: ChangeRule
    detail: str

    def to_dict(self) -> dict[str, str]:
        """Return the change as JSON holds it."""
        return {"layer": self.layer, "rule": self.rule, "detail": self.detail}


@dataclass(frozen=True)
class Left:
    """One thing that could not be rewritten exactly.

    Attributes:
        layer: The layer's name.
        rule: Why not, from a closed list.
        reason: The rule as a sentence.
    """

    layer: str
    rule: LeftRule
    reason: str

    @property
    def remedy(self) -> str:
        """What to do about it by hand."""
        return _REMEDIES[self.rule]

    def to_dict(self) -> dict[str, str]:
        """Return it as JSON holds it."""
        return {"layer": self.layer, "rule": self.rule, "reason": self.reason, "remedy": self.remedy}
