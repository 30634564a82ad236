"""The pass that only trains: a few more epochs, from the weights that are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import RecipeError
from ..models.copying import copy_model
from ..training.context import PassContext
from ..training.loop import train
from ..training.losses import with_loss_of
from ..training.options import Training
from ..training.report import TrainingReport
from ..training.zero_keeper import zero_keeper
from .base import Pass, PassResult, check_needs


@dataclass(frozen=True)
class FineTuneReport(TrainingReport):
    """What a fine-tuning did.

    Attributes:
        kept_zeros: Weights that were zero before, and were kept so, by layer.
    """

    kept_zeros: Mapping[str, int] = field(default_factory=dict)

    note: ClassVar[str] = "Training changes the accuracy of a model, not its cost."

    def to_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {**super().to_dict(), "kept_zeros": dict(self.kept_zeros)}


@dataclass(frozen=True, kw_only=True)
class FineTune(Pass):
    """Train the model as it is.

    Attributes:
        training: How long and how; one epoch by default.
        keep_zeros: Keep, by default, at zero what an earlier pass has pruned: weights that are zero in kernels of which
            at least 5 % are.

    Raises:
        RecipeError: `training` has no epochs.

    Example:
        >>> FineTune(training=Training(epochs=3)).apply(model, PassContext(train=(x, y), loss="mse")).model
    """

    training: Training = field(default_factory=Training)
    keep_zeros: bool = True

    name = "finetune"
    leaves = ("size_bytes", "macs", "latency_ms")

    def __post_init__(self) -> None:
        if self.training.epochs == 0:
            raise RecipeError("Received epochs=0 for the pass 'finetune'; expected at least 1: it does nothing else.")

    def apply(self, model: Any, context: PassContext) -> PassResult:
        """Return a trained copy of `model`, of its flavour, and a `FineTuneReport`.

        Raises:
            UsageError: No loss; `DataError` for data that do not fit.
            ModelError: No trainable weights, or a model that cannot be copied.
            TrainingDivergedError: The loss became NaN or infinite.
        """
        check_needs(self, context)
        copied = copy_model(model)
        keep, kept = zero_keeper(copied) if self.keep_zeros else (None, {})
        context = with_loss_of(model, context, self.name)
        done = train(copied, context, self.training, name=self.name, keep=keep)
        return PassResult(done.model, FineTuneReport.of(self.training, done, kept_zeros=kept))
