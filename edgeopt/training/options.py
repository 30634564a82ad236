"""The options of every pass that trains, and `train`, the one training loop behind them all.

TensorFlow is imported when the training begins, not before: a bad option is refused at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import RecipeError, nearest

OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "exponential")
PRECISIONS = ("mixed_bfloat16", "mixed_float16")
STRATEGIES = ("mirrored", "multi_worker")


@dataclass(frozen=True)
class EarlyStop:
    """End the training when a metric no longer gets better, and go back to the epoch at which it was best.

    Attributes:
        metric: Its name in the training's history: ``val_accuracy``, ``val_loss``, ``loss``...
        patience: Epochs in a row without a better value at which the training ends, as Keras counts them.
        min_delta: What counts as better.
    """

    metric: str = "val_loss"
    patience: int = 2
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric:
            raise RecipeError(f"The metric of early_stop is {self.metric!r}; expected a name such as 'val_loss'.")
        _whole("patience", self.patience, 0)
        _positive("min_delta", self.min_delta, allow_zero=True)

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better: not so for losses and errors."""
        return not any(word in self.metric for word in ("loss", "error", "mae", "mape", "mse", "msle", "divergence"))

    def improves(self, value: float, best: float | None) -> bool:
        """Whether `value` is better than `best` by more than `min_delta`."""
        if best is None:
            return True
        gain = value - best if self.higher_is_better else best - value
        return gain > self.min_delta


@dataclass(frozen=True)
class Training:
    """How a pass trains.

    Attributes:
        epochs: Passes over the data; 0 trains nothing.
        batch_size: Samples a step; a ``tf.data.Dataset`` or PyDataset that batches brings its own.
        steps_per_epoch: Steps that count as an epoch; None means all of the data.
        optimizer: adam, adamw, rmsprop, or sgd (with momentum 0.9).
        learning_rate: At the first step.
        schedule: ``constant``; ``cosine``, down to 0 at the last step (Loshchilov and Hutter 2017, no restarts);
            ``exponential``, down to a hundredth of it.
        early_stop: An `EarlyStop`, its metric's name, or a table of its fields; None trains all epochs.
        mixed_precision: ``mixed_bfloat16`` or ``mixed_float16``: compute in half precision, weights in float32.
        strategy: ``mirrored``, ``multi_worker`` (reads ``TF_CONFIG``), or a ``tf.distribute.Strategy``.

    Raises:
        RecipeError: An option is unknown or out of its range.

    Example:
        >>> Training(epochs=3, learning_rate=1e-4, schedule="cosine").steps(1000)
        96
    """

    epochs: int = 1
    batch_size: int = 32
    steps_per_epoch: int | None = None
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    early_stop: EarlyStop | None = None
    mixed_precision: str | None = None
    strategy: Any = None

    def __post_init__(self) -> None:
        _whole("epochs", self.epochs, 0)
        _whole("batch_size", self.batch_size, 1)
        if self.steps_per_epoch is not None:
            _whole("steps_per_epoch", self.steps_per_epoch, 1)
        _positive("learning_rate", self.learning_rate)
        _choice("optimizer", self.optimizer, OPTIMIZERS)
        _choice("schedule", self.schedule, SCHEDULES)
        if self.mixed_precision is not None:
            _choice("mixed_precision", self.mixed_precision, PRECISIONS)
        if isinstance(self.strategy, str):
            _choice("strategy", self.strategy, STRATEGIES)
        object.__setattr__(self, "early_stop", _early_stop(self.early_stop))

    def steps(self, sample_count: int) -> int:
        """Optimiser steps of the whole run on `sample_count` samples."""
        return self.epochs * (self.steps_per_epoch or math.ceil(sample_count / self.batch_size))

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON values; a strategy object by its class name."""
        values = {**asdict(self), "strategy": None} if not isinstance(self.strategy, str) else asdict(self)
        if self.strategy is not None and not isinstance(self.strategy, str):
            values["strategy"] = type(self.strategy).__name__
        return values

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Names of the options, as a recipe spells them."""
        return tuple(item.name for item in fields(cls))


def _early_stop(value: Any) -> EarlyStop | None:
    if value is None or isinstance(value, EarlyStop):
        return value
    if isinstance(value, str):
        return EarlyStop(value)
    if not isinstance(value, Mapping):
        raise RecipeError(f"early_stop is {value!r}; expected a metric's name or a table such as {{metric, patience}}.")
    valid = [item.name for item in fields(EarlyStop)]
    for key in value:
        if key not in valid:
            raise RecipeError(f"Unknown option {key!r} of early_stop{nearest(str(key), valid)}")
    return EarlyStop(**value)


def _choice(what: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise RecipeError(f"Received {what}={value!r}{nearest(str(value), choices)}")


def _whole(what: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise RecipeError(f"Received {what}={value!r}; expected a whole number of at least {least}.")


def _positive(what: str, value: Any, *, allow_zero: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (value == 0 and not allow_zero):
        raise RecipeError(f"Received {what}={value!r}; expected a number {'of at least' if allow_zero else 'above'} 0.")
