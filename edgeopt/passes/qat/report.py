"""What quantisation-aware training did with each layer, and what it left float and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from ...training.report import TrainingReport
from ..properties import WeightProperty
from .agreement import Agreement

Reason = Literal[
    "in-skip-list",  # named in `skip`
    "recurrent",  # an LSTM, GRU or other recurrent layer
    "no int8 operator",  # the converter has no integer operator for it, or for its activation, in a trained model
    "channels first",  # a convolution with the channels before height and width
    "operation",  # a bare operation without a layer of its own
    "unknown layer",  # a custom layer, or one that edgeopt has no rule for
]


@dataclass(frozen=True)
class QuantizedLayerReport:
    """One layer that was trained quantised.

    Attributes:
        name: The name of the layer in the flattened model.
        kind: The name of its class.
        grid: Where its weights' scales are (`kernels.Grid`); empty for a layer without a kernel.
        norm: The BatchNormalization that is folded into it; empty for none.
        preserved: ``sparsity``, ``clusters``, or both.
    """

    name: str
    kind: str
    grid: str = ""
    norm: str = ""
    preserved: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the entry as JSON values."""
        return {**vars(self), "preserved": list(self.preserved)}


@dataclass(frozen=True)
class QatReport(TrainingReport):
    """The account of a quantisation-aware training; what is `skipped` stays float, with a reason from `Reason`.

    Attributes:
        layers: Every layer that computes in 8 bits with a range or a grid of its own.
        fully_int8: Whether a file made of the model is to hold no float operator.
        before: Zeros and distinct values of each kernel as the pass received it.
        after: Zeros and distinct values of each kernel as the pass left it; of the file's integers where
            `measured_in_file`.
        measured_in_file: Whether the properties were measured in a converted file.
        agreement: How far the file's outputs are from the QAT model's, an entry an output; empty where the context
            cannot convert and run a file.
    """

    layers: tuple[QuantizedLayerReport, ...]
    before: Mapping[str, WeightProperty] = field(default_factory=dict, repr=False)
    after: Mapping[str, WeightProperty] = field(default_factory=dict, repr=False)
    measured_in_file: bool = False
    agreement: tuple[Agreement, ...] = ()

    @property
    def fully_int8(self) -> bool:
        """Whether a file made of the model is to hold no float operator."""
        return not self.skipped

    @property
    def preserved(self) -> tuple[str, ...]:
        """What of earlier passes was kept, in any layer."""
        return tuple(sorted({word for layer in self.layers for word in layer.preserved}))

    @property
    def note(self) -> str:
        """What the training buys, and, where it was measured, how far the file is from the model that was trained."""
        note = "What training for quantised values buys is accuracy."
        if not self.agreement:
            return note
        found = "; ".join(map(str, self.agreement))
        return f"{note} The file beside the QAT model, {self.agreement[0].samples} samples: {found}."

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {
            **super().to_dict(),
            "layers": [layer.to_dict() for layer in self.layers],
            "fully_int8": self.fully_int8,
            "preserved": list(self.preserved),
            "properties": {
                name: {"before": item.to_dict(), "after": self.after[name].to_dict() if name in self.after else None}
                for name, item in self.before.items()
            },
            "measured_in_file": self.measured_in_file,
            "agreement": [asdict(item) for item in self.agreement],
        }
