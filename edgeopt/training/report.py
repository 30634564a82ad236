"""What every pass that trains says of its training: one account for all their reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .context import Skipped
from .options import Training

Report = TypeVar("Report", bound="TrainingReport")


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """What a training did; the reports of passes that train add what they did with the weights.

    Attributes:
        training: The options.
        history: Metric values of each epoch.
        resumed_at: Epochs that came from a checkpoint.
        best_epoch: The epoch whose weights were kept, under an early stop.
        renewed_norms: BatchNormalization layers whose statistics were measured anew, as the training was too short for
            them to follow.
        skipped: Layers that were left as they were, with a reason from the pass's closed list.
        devices: What it ran on, a GPU with its model.
    """

    training: Training
    history: tuple[Mapping[str, float], ...] = ()
    resumed_at: int = 0
    best_epoch: int | None = None
    renewed_norms: int = 0
    skipped: tuple[Skipped, ...] = ()
    devices: tuple[str, ...] = ()

    @classmethod
    def of(
        cls: type[Report], training: Training, done: Trained, skipped: tuple[Skipped, ...] = (), **own: Any
    ) -> Report:
        """Return the report of a training.

        Args:
            training: Its options.
            done: What `train` gave back.
            skipped: Layers that were left as they were.
            **own: The further fields of a subclass.
        """
        return cls(
            training=training,
            history=tuple(done.history),
            resumed_at=done.resumed_at,
            best_epoch=done.best_epoch,
            renewed_norms=done.renewed_norms,
            skipped=skipped,
            devices=done.devices,
            **own,
        )

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {
            "training": self.training.to_dict(),
            "history": [dict(epoch) for epoch in self.history],
            "resumed_at": self.resumed_at,
            "best_epoch": self.best_epoch,
            "renewed_norms": self.renewed_norms,
            "devices": list(self.devices),
            "skipped": [entry.to_dict() for entry in self.skipped],
        }


@dataclass(frozen=True)
class Trained:
    """What `train` did.

    Attributes:
        model: The model that it was given, trained.
        history: A dict of metric values for each epoch, those of a resumed run's first part included.
        resumed_at: Epochs that were read from a checkpoint and not trained again; 0 for a run in one piece.
        best_epoch: Number (from 0) of the epoch whose weights the model has, under `Training.early_stop`.
        steps: Optimiser steps that its weights come from.
        renewed_norms: BatchNormalization layers whose moving statistics were measured anew at the end, as the steps
            were too few for them to follow.
        devices: What it ran on, a GPU with its model: "CPU:0", "GPU:0 (NVIDIA L4)".
    """

    model: Any
    history: list[dict[str, float]] = field(default_factory=list)
    resumed_at: int = 0
    best_epoch: int | None = None
    steps: int = 0
    renewed_norms: int = 0
    devices: tuple[str, ...] = ()
