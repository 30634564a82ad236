"""What a channel pruning did: the groups and their channels, the costs before and after, and what stayed and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ...training.context import Skipped


@dataclass(frozen=True)
class GroupChange:
    """Channels of one group before and after.

    Attributes:
        name: The layer whose channels are counted.
        layers: All layers that make channels of the group, and that were cut with it.
        before: Channels before.
        after: Channels after.
    """

    name: str
    layers: tuple[str, ...]
    before: int
    after: int

    def to_dict(self) -> dict[str, object]:
        """Return the change as plain values."""
        return {"name": self.name, "layers": list(self.layers), "before": self.before, "after": self.after}


@dataclass(frozen=True)
class LatencyFigures:
    """Latencies in milliseconds: of the whole model, the one that was asked for, and of the result."""

    before_ms: float
    target_ms: float
    after_ms: float
    measurements: int


@dataclass(frozen=True)
class ChannelReport:
    """The account of a channel pruning.

    Attributes:
        importance: The criterion that chose the channels.
        groups: Every group that could be cut, cut or not.
        costs: Measure ("macs", "params", "bytes") -> (before, after); "macs" is absent for models of open input size.
        kept: Layer name -> indices, in the original model, of the output channels that are kept.
        max_difference: Largest difference between the cut model and the original with the removed channels zeroed,
            relative to the scale of the tensor.
        latency: When the target was a latency.
        skipped: Groups that stayed, with a reason from `labels.Reason`.
    """

    importance: str
    groups: tuple[GroupChange, ...]
    costs: Mapping[str, tuple[float, float]]
    kept: Mapping[str, npt.NDArray[np.int64]] = field(repr=False)
    max_difference: float = 0.0
    latency: LatencyFigures | None = None
    skipped: tuple[Skipped, ...] = ()

    note: ClassVar[str] = (
        "Removed channels are gone from the file and from the work; half of the MACs is seldom half of the time."
    )

    def removed(self, measure: str) -> float:
        """Return the fraction of a cost that was removed."""
        before, after = self.costs[measure]
        return 1.0 - after / before if before else 0.0

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {
            "importance": self.importance,
            "groups": [group.to_dict() for group in self.groups],
            "costs": {
                measure: {"before": before, "after": after, "removed": self.removed(measure)}
                for measure, (before, after) in self.costs.items()
            },
            "max_difference": self.max_difference,
            "latency": None if self.latency is None else asdict(self.latency),
            "skipped": [entry.to_dict() for entry in self.skipped],
        }

    def __str__(self) -> str:
        lines = [f"channels, importance {self.importance}"]
        lines += [
            f"  {measure:<7}{before:>14,.0f} -> {after:>14,.0f}  (-{100 * self.removed(measure):.1f} %)"
            for measure, (before, after) in self.costs.items()
        ]
        lines += [f"  {group.name}: {group.before} -> {group.after}" for group in self.groups]
        lines += [f"  {entry.subject}: kept, {entry.reason} ({entry.detail})" for entry in self.skipped]
        lines.append(f"  equal to the original with these channels zeroed, to {self.max_difference:.1e}")
        return "\n".join(lines)
