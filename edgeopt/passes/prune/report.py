"""What a pruning did: zeros of each layer before and after, and what stayed and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ...training.report import TrainingReport
from ..properties import WeightProperty

_NOTE = (
    "Zeros take their place in the file and their time in the kernels like any other value; only a zip, such as an "
    "app's package or an update, gets smaller."
)
_M_BY_N_NOTE = (
    "The TFLite runtimes measured here have no kernels for m:n patterns, so that 2:4 buys nothing over unstructured "
    "zeros, at a higher price in accuracy."
)


@dataclass(frozen=True)
class LayerSparsity:
    """Sparsity of one pruned layer's kernel, as fractions.

    Attributes:
        name: The layer, or layer/weight where it has several kernels.
        target: What was asked for.
        before: Measured in the model that was given.
        after: Measured in the model that came out.
        size: Number of weights.
    """

    name: str
    target: float
    before: float
    after: float
    size: int


@dataclass(frozen=True)
class PruneReport(TrainingReport):
    """The account of a pruning, and of its training; what is `skipped` has a reason from `PruneReason`.

    Attributes:
        criterion: What chose the weights.
        pattern: ``unstructured``, ``2:4``, or ``blocks 4x1``.
        layers: The layers that were pruned.
        sparsity: Of all kernels of the model together, pruned or not.
    """

    criterion: str
    pattern: str
    layers: tuple[LayerSparsity, ...]
    sparsity: float

    @property
    def note(self) -> str:
        """What zeros of this pattern buy."""
        return _M_BY_N_NOTE if ":" in self.pattern else _NOTE

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {
            "criterion": self.criterion,
            "pattern": self.pattern,
            "sparsity": self.sparsity,
            "layers": [asdict(layer) for layer in self.layers],
            **super().to_dict(),
        }

    def __str__(self) -> str:
        lines = [f"prune, {self.criterion}, {self.pattern}: {100 * self.sparsity:.1f} % of all kernel weights are zero"]
        lines += [
            f"  {layer.name}: {100 * layer.before:.1f} -> {100 * layer.after:.1f} % (target {100 * layer.target:.1f})"
            for layer in self.layers
        ]
        lines += [f"  {entry.subject}: not pruned, {entry.reason}" for entry in self.skipped]
        return "\n".join(lines)


def compare(
    targets: Mapping[str, float], before: Mapping[str, WeightProperty], after: Mapping[str, WeightProperty]
) -> tuple[tuple[LayerSparsity, ...], float]:
    """Return the pruned layers' sparsity, and that of all kernels together.

    Args:
        targets: Layer -> sparsity that was asked for.
        before: `measure_model` of the flat model, before.
        after: The same afterwards.
    """
    layers = []
    for name, item in after.items():
        target = targets.get(name.split("/")[0])
        if target is not None and "depthwise" not in name.split("/")[-1]:
            layers.append(LayerSparsity(name, target, before[name].sparsity, item.sparsity, item.size))
    size = sum(item.size for item in after.values())
    return tuple(layers), sum(item.zeros for item in after.values()) / max(size, 1)
