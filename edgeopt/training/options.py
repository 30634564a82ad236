"""The options of every training; a bad one is refused at once, before TensorFlow is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import RecipeError, nearest
from ..recipes.values import require_choice, require_number, require_whole

OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "exponential")
PRECISIONS = ("mixed_bfloat16", "mixed_float16")
# Our names of TensorFlow's classes; either may be given.
STRATEGIES = {
    "mirrored": "MirroredStrategy",
    "multi_worker": "MultiWorkerMirroredStrategy",
    "central_storage": "CentralStorageStrategy",
    "one_device": "OneDeviceStrategy",
    "tpu": "TPUStrategy",
}


@dataclass(frozen=True)
class EarlyStop:
    """End the training when a metric no longer gets better, and go back to the epoch at which it was best.

    Attributes:
        metric: Its name in the training's history: ``val_loss`` (the default), ``val_accuracy``, ``loss``...
        patience: Epochs in a row without a better value at which the training ends, as Keras counts them; 2 by default.
        min_delta: A change that is no larger than this does not count as better; 0 by default.
    """

    metric: str = "val_loss"
    patience: int = 2
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric:
            raise RecipeError(f"The metric of early_stop is {self.metric!r}; expected a name such as 'val_loss'.")
        require_whole("patience", self.patience)
        require_number("min_delta", self.min_delta, "a number of at least 0", lambda value: value >= 0)

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
        epochs: Passes over the data, 1 by default; 0 trains nothing.
        batch_size: Samples a step, 32 by default; a ``tf.data.Dataset`` or PyDataset that batches brings its own.
        steps_per_epoch: Steps that count as an epoch; None, the default, means all of the data.
        optimizer: ``adam`` (the default), ``adamw``, ``rmsprop``, or ``sgd`` with momentum 0.9.
        learning_rate: The learning rate of the first step, above 0; 0.001 by default.
        learning_rate_schedule: ``constant``, the default; ``cosine``, down to 0 at the last step (Loshchilov and
            Hutter 2017, no restarts); ``exponential``, down to a hundredth of it.
        early_stop: An `EarlyStop`, its metric's name, or a table of its fields; None trains all epochs.
        mixed_precision: ``mixed_bfloat16`` or ``mixed_float16``: compute in half precision, weights in float32.
        strategy: ``mirrored`` (all GPUs of this machine), ``multi_worker`` (reads ``TF_CONFIG``), ``central_storage``,
            ``one_device``, ``tpu`` (reads ``TPU_NAME``), TensorFlow's name of one, or a ``tf.distribute.Strategy``.

    Raises:
        RecipeError: An option is unknown or out of its range.

    Example:
        >>> Training(epochs=3, learning_rate=1e-4, learning_rate_schedule="cosine").steps(1000)
        96
    """

    epochs: int = 1
    batch_size: int = 32
    steps_per_epoch: int | None = None
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    learning_rate_schedule: str = "constant"
    early_stop: EarlyStop | None = None
    mixed_precision: str | None = None
    strategy: Any = None

    def __post_init__(self) -> None:
        require_whole("epochs", self.epochs)
        require_whole("batch_size", self.batch_size, 1)
        if self.steps_per_epoch is not None:
            require_whole("steps_per_epoch", self.steps_per_epoch, 1)
        require_number("learning_rate", self.learning_rate, "a number above 0", lambda value: value > 0)
        require_choice("optimizer", self.optimizer, OPTIMIZERS)
        require_choice("learning_rate_schedule", self.learning_rate_schedule, SCHEDULES)
        if self.mixed_precision is not None:
            require_choice("mixed_precision", self.mixed_precision, PRECISIONS)
        if isinstance(self.strategy, str):
            short = {name: key for key, name in STRATEGIES.items()}.get(self.strategy, self.strategy)
            require_choice("strategy", short, tuple(STRATEGIES))
            object.__setattr__(self, "strategy", short)
        object.__setattr__(self, "early_stop", _early_stop(self.early_stop))

    def steps(self, sample_count: int) -> int:
        """Optimiser steps of the whole run on `sample_count` samples."""
        return self.epochs * (self.steps_per_epoch or math.ceil(sample_count / self.batch_size))

    def to_dict(self) -> dict[str, object]:
        """Return the options as JSON values, `learning_rate_schedule` as ``schedule``, a strategy by its class name."""
        values = {name.removeprefix("learning_rate_"): value for name, value in asdict(self).items()}
        if self.strategy is not None and not isinstance(self.strategy, str):
            values["strategy"] = type(self.strategy).__name__
        return values


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
