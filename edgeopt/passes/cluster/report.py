"""What a clustering did: distinct values of each layer before and after, and what stayed and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

from ...training.report import TrainingReport
from ..properties import WeightProperty


@dataclass(frozen=True)
class LayerClusters:
    """Distinct values of one clustered layer's kernel.

    Attributes:
        name: The layer, or layer/weight where it has several kernels.
        target: The most that were asked for.
        before: Measured in the model that was given.
        after: Measured in the model that came out.
        sparsity_before: Fraction of zeros before.
        sparsity_after: And afterwards.
        size: Number of weights.
    """

    name: str
    target: int
    before: int
    after: int
    sparsity_before: float
    sparsity_after: float
    size: int


@dataclass(frozen=True)
class ClusterReport(TrainingReport):
    """The account of a clustering, and of its training; what is `skipped` has a reason from `ClusterReason`.

    Attributes:
        initialization: Where the centroids began.
        preserve_sparsity: Whether zeros were kept.
        layers: The layers that were clustered.
    """

    initialization: str
    preserve_sparsity: bool
    layers: tuple[LayerClusters, ...]

    note: ClassVar[str] = "Few distinct values take as many bytes as many do; only a zip gets smaller."

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {
            "initialization": self.initialization,
            "preserve_sparsity": self.preserve_sparsity,
            "layers": [asdict(layer) for layer in self.layers],
            **super().to_dict(),
        }

    def __str__(self) -> str:
        zeros = ", zeros kept" if self.preserve_sparsity else ""
        lines = [f"cluster, {self.initialization}{zeros}"]
        lines += [
            f"  {layer.name}: {layer.before} -> {layer.after} distinct values (at most {layer.target})"
            for layer in self.layers
        ]
        lines += [f"  {entry.subject}: not clustered, {entry.reason}" for entry in self.skipped]
        return "\n".join(lines)


def compare(
    targets: Mapping[str, int], before: Mapping[str, WeightProperty], after: Mapping[str, WeightProperty]
) -> tuple[LayerClusters, ...]:
    """Return the clustered layers' distinct values, measured before and after (`measure_model`)."""
    return tuple(
        LayerClusters(name, targets[layer], old.clusters, new.clusters, old.sparsity, new.sparsity, new.size)
        for name, new in after.items()
        if (layer := name.split("/")[0]) in targets and "depthwise" not in name.split("/")[-1]
        for old in (before[name],)
    )
