"""How long trainings take: told from some steps before they begin, and ended when the time is over."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...data.dataset import Dataset
from ...training.options import Training
from .workbench import Workbench

_STEPS = 12  # trained to tell what a step takes
_QUANTISED = 1.5  # times the step of a plain training, roughly: ranges and roundings are computed beside
_BATCH = 32


class TimeUp(Exception):
    """The time that a run may take is over, in the middle of a conversion or a training."""


@dataclass(frozen=True)
class Clock:
    """How long a run may take.

    Attributes:
        limit_s: In seconds since `started`; None for no limit.
        started: When it began, in `time.monotonic`'s seconds.
        reserve_s: What is kept of it for the end, in seconds: a file is judged then.
    """

    limit_s: float | None
    started: float = field(default_factory=time.monotonic)
    reserve_s: float = 0.0

    @property
    def left_s(self) -> float:
        """How long it is until the end begins; below 0 from then on, infinite without a limit."""
        if self.limit_s is None:
            return math.inf
        return self.limit_s - self.reserve_s - (time.monotonic() - self.started)

    def check(self) -> None:
        """Do nothing while there is time.

        Raises:
            TimeUp: There is none.
        """
        if self.left_s <= 0:
            raise TimeUp("the time was over in the middle of it")


@dataclass(frozen=True)
class Length:
    """How long the trainings of a rung are.

    Attributes:
        epochs: Of all passes.
        steps: Of an epoch.
        seconds: About how long all of them take.
    """

    epochs: int
    steps: int
    seconds: float

    @classmethod
    def of(cls, passes: Sequence[Mapping[str, object]], train: Dataset, step_s: float) -> Length:
        """Return the length of passes on these samples, where a step of the original takes so many seconds."""
        steps = math.ceil(train.count / _BATCH)
        epochs = {str(table["kind"]): int(str(table["epochs"])) for table in passes}
        weighed = sum(count * (_QUANTISED if kind == "qat" else 1.0) for kind, count in epochs.items())
        return cls(sum(epochs.values()), steps, weighed * steps * step_s)

    def __str__(self) -> str:
        return f"{self.epochs} epochs of {self.steps} steps"


def step_seconds(bench: Workbench) -> float:
    """Train a copy for a few steps, with the original as the teacher; return what a step took, without the first."""
    from ...models.detect import Flavour
    from ...models.load import flavour_of, import_keras
    from ...passes.finetune import FineTune

    ends: list[float] = []
    flavour = flavour_of(bench.original) or Flavour.KERAS3
    training = Training(epochs=1, steps_per_epoch=_STEPS)
    recipe = replace(bench.recipe, distillation=bench.recipe.distillation or {})
    bench.tell({"stage": "timing a step of training"})
    timed = replace(
        bench, recipe=recipe, callbacks=[_timing(import_keras(flavour), ends)], say=lambda _line: None,
        measuring=replace(bench.measuring, on_progress=None),
    )  # fmt: skip
    FineTune(training=training).apply(bench.original, timed.context(None, training))
    return float(np.median(np.diff(ends))) if len(ends) > 1 else 0.0


def _timing(keras: Any, ends: list[float]) -> Any:
    class _Timing(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            ends.append(time.monotonic())

    return _Timing()
