"""What a run without a recipe would do: the rungs, what each needs, and about how long its training takes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ...artifact.envelope import envelope
from ...data.dataset import Dataset
from ...evaluation.budget import Budget
from ...models.detect import Flavour
from ...models.load import flavour_of, import_keras
from ...passes.finetune import FineTune
from ...recipes.optimize import OptimizeRecipe
from ...training.options import Training
from .data import check_outputs, check_recipe_data
from .loss import loss_for
from .run import PlannedRecipe, enter_scope, load_original
from .rungs import ACCURACY, CHANNELS, COSTS, INT8, QAT, Rung, truer
from .workbench import Measuring, Workbench

_STEPS = 12  # trained to tell what a step takes
_QUANTISED = 1.5  # times the step of a plain training, roughly: ranges and roundings are computed beside
_BATCH = 32


@dataclass(frozen=True)
class Forecast:
    """A rung that may be climbed.

    Attributes:
        name: How it is called.
        when: What has to be missed for it to be tried.
        needs: What is needed, and whether it is there.
        seconds: About how long its training takes; None where nothing is trained, or that cannot be told.
    """

    name: str
    when: str
    needs: str
    seconds: float | None = None


@dataclass(frozen=True)
class LadderPlan:
    """What `edgeopt.optimize` would do for a budget.

    Attributes:
        rungs: In the order in which they may be tried.
        step_s: What a training step of the model took, in seconds; None without training data.
        recipe: The dearest rung that the budget may come to, as a recipe.
    """

    rungs: tuple[Forecast, ...]
    step_s: float | None
    recipe: OptimizeRecipe

    def to_dict(self) -> dict[str, object]:
        """Return the plan in the JSON envelope."""
        rungs = [asdict(rung) for rung in self.rungs]
        return envelope("ok", {"rungs": rungs, "step_s": self.step_s, "recipe": self.recipe.to_tables()})


def forecast(
    model: Any,
    read: PlannedRecipe,
    *,
    validation: Any,
    train: Any = None,
    calibration: Any = None,
    loss: Any = None,
    custom_objects: Sequence[str] = (),
    unsafe_load: bool = False,
) -> LadderPlan:
    """Return the rungs that a budget may lead to; a few steps are trained, on a copy, to time them.

    Args:
        model: As `edgeopt.optimize` takes it, and so are the following.
        read: What `read_budget` has made of the budget.
        validation: Samples with labels.
        train: Training data; None for none.
        calibration: Samples for the conversion.
        loss: A Keras loss or its name.
        custom_objects: ``module:NAME`` for what a model file needs.
        unsafe_load: Allow Python code stored in a model file to run.

    Raises:
        UsageError, ModelError: As `edgeopt.optimize` would.
    """
    settings = read.settings
    data = check_recipe_data(train, validation, calibration, settings.convert, trains=False)
    original, _ = load_original(model, custom_objects, unsafe_load)
    check_outputs(original, data, settings.metric, settings.output_name)
    with ExitStack() as stack:
        enter_scope(stack, custom_objects)
        chosen = None if data.train is None else loss_for(original, loss, data.train)
        nowhere = Measuring("local", None, "auto", None, None)
        bench = Workbench(replace(settings, distillation={}), original, data, chosen, (), nowhere, lambda _line: None)
        return _planned(bench, settings.budget)


def _planned(bench: Workbench, budget: Budget) -> LadderPlan:
    step_s = None if bench.data.train is None else _step_seconds(bench)
    accuracy, costs = ([name for name in names if getattr(budget, name) is not None] for names in (ACCURACY, COSTS))
    rungs = [Forecast(INT8.name, "always", "samples to calibrate with; no training")]
    if accuracy:
        rungs += [
            _forecast(rung, " or ".join(accuracy), bench, step_s)
            for rung in truer(budget.max_drop, may_float=bench.recipe.convert.edges != "int8")
        ]
    if costs:
        cut = Rung("channels", (CHANNELS, QAT))
        rungs.append(_forecast(cut, " or ".join(costs), bench, step_s))
    passes: tuple[Mapping[str, Any], ...] = (QAT,)
    if costs:
        passes = ({**CHANNELS, "fraction": 0.5, "of": "bytes"}, QAT)
    recipe = OptimizeRecipe(
        passes, bench.recipe.convert, budget, {}, metric=bench.recipe.metric, output_name=bench.recipe.output_name
    )
    return LadderPlan(tuple(rungs), step_s, recipe)


def _forecast(rung: Rung, missed: str, bench: Workbench, step_s: float | None) -> Forecast:
    when = f"{missed} is missed"
    if not rung.trains:
        return Forecast(rung.name, when, "no training")
    if step_s is None:
        return Forecast(rung.name, when, "training data (--train), which are not there: it is passed over")
    train = bench.data.train
    if not isinstance(train, Dataset):
        return Forecast(rung.name, when, "training data, which are there; how many cannot be told")
    steps = math.ceil(train.count / _BATCH)
    epochs = {str(table["kind"]): int(str(table["epochs"])) for table in rung.passes}
    weighed = sum(count * (_QUANTISED if kind == "qat" else 1.0) for kind, count in epochs.items())
    needs = f"training data, which are there: {sum(epochs.values())} epochs of {steps} steps"
    return Forecast(rung.name, when, needs, weighed * steps * step_s)


def _step_seconds(bench: Workbench) -> float:
    """Train a copy for a few steps, with the original as the teacher; return what a step took, without the first."""
    ends: list[float] = []
    flavour = flavour_of(bench.original) or Flavour.KERAS3
    training = Training(epochs=1, steps_per_epoch=_STEPS)
    timed = replace(bench, callbacks=[_timing(import_keras(flavour), ends)])
    FineTune(training=training).apply(bench.original, timed.context(None, training))
    return float(np.median(np.diff(ends))) if len(ends) > 1 else 0.0


def _timing(keras: Any, ends: list[float]) -> Any:
    class _Timing(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            ends.append(time.monotonic())

    return _Timing()
