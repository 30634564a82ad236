"""The pass that only trains: a few more epochs, from the weights that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import RecipeError
from .base import PassContext, PassResult, check_needs
from .copying import copy_model
from .training import Training, train
from .training_report import TrainingReport, account_of

# A kernel with fewer zeros than this was not pruned: a zero in it is chance, and may move.
_PRUNED_SHARE = 0.05


@dataclass(frozen=True)
class FineTuneReport(TrainingReport):
    """What a fine-tuning did.

    Attributes:
        kept_zeros: Weights that were zero before, and were kept so, by layer.
    """

    kept_zeros: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**super().to_dict(), "kept_zeros": dict(self.kept_zeros)}


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """Train the model as it is.

    Attributes:
        training: How long and how.
        keep_zeros: Keep at zero what an earlier pass has pruned: weights that are zero in kernels of which at least
            5 % are.

    Raises:
        RecipeError: `training` has no epochs.

    Example:
        >>> FineTune(training=Training(epochs=3)).apply(model, PassContext(train=(x, y), loss="mse")).model
    """

    training: Training = field(default_factory=Training)
    keep_zeros: bool = True

    name = "finetune"

    def __post_init__(self) -> None:
        if self.training.epochs == 0:
            raise RecipeError("Received epochs=0 for the pass 'finetune'; expected at least 1: it does nothing else.")

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of the context that these options need."""
        return ("train",)

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
        return PassResult(done.model, FineTuneReport(kept, **account_of(self.training, done)))


def with_loss_of(model: Any, context: PassContext, name: str) -> PassContext:
    """Return the context with a loss: its own, or the one that `model` was compiled with.

    Raises:
        UsageError: There is none.
    """
    from .training_compile import loss_of

    return replace(context, loss=loss_of(model, context, name))


class ZeroKeeper:
    """Sets weights to zero again after a training step.

    Args:
        masks: Variables, each with an array of its shape: 0 for what is to be zero, else 1.
    """

    def __init__(self, masks: Sequence[tuple[Any, Any]]) -> None:
        self._masks = tuple(masks)

    def __call__(self, model: Any) -> None:
        """Zero what is to be zero."""
        for weight, mask in self._masks:
            weight.assign(weight * mask)

    def moved(self, twins: Mapping[int, Any]) -> ZeroKeeper:
        """Return the same for the variables that stand in for these, by their ids."""
        return ZeroKeeper([(twins[id(weight)], mask) for weight, mask in self._masks])


def zero_keeper(model: Any) -> tuple[ZeroKeeper | None, dict[str, int]]:
    """Return what zeroes again what is zero now in pruned kernels, and the number of such weights by layer."""
    masks: list[tuple[Any, Any]] = []
    counts: dict[str, int] = {}
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if any(True for _ in layer._flatten_layers(include_self=False, recursive=True)):
            continue  # the layers inside come by themselves
        for weight in layer.trainable_weights:
            array = weight.numpy()
            share = float(np.mean(array == 0)) if array.ndim > 1 else 0.0
            if _PRUNED_SHARE <= share < 1.0:
                masks.append((weight, (array != 0).astype(array.dtype)))
                counts[str(layer.name)] = counts.get(str(layer.name), 0) + int(np.sum(array == 0))
    return (ZeroKeeper(masks) if masks else None), counts
