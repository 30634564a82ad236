"""What a run without a recipe would do: the rungs, what each needs, and about how long its training takes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...artifact.envelope import envelope
from ...data.dataset import Dataset
from ...evaluation.budget import Budget
from ...recipes.optimize import OptimizeRecipe
from .opening import Given, opened
from .pace import Length, step_seconds
from .run import PlannedRecipe
from .rungs import ACCURACY, CHANNELS, COSTS, INT8, QAT, STUDENT, TEACHER, Rung, truer
from .workbench import Measuring, Workbench


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
        return envelope(
            "optimize-plan", "ok", {"rungs": rungs, "step_s": self.step_s, "recipe": self.recipe.to_tables()}
        )


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
    given = Given(model, train, validation, calibration, None, loss, custom_objects, unsafe_load)
    with ExitStack() as stack:
        found = opened(given, read.settings, stack, lambda _event: None, trains=False)
        nowhere = Measuring("local", None, "auto", None, None)
        bench = Workbench(read.settings, found.model, found.data, found.loss, (), nowhere, lambda _line: None)
        return _planned(bench, read.settings.budget)


def _planned(bench: Workbench, budget: Budget) -> LadderPlan:
    step_s = None if bench.data.train is None else step_seconds(bench)
    accuracy, costs = ([name for name in names if getattr(budget, name) is not None] for names in (ACCURACY, COSTS))
    rungs = [Forecast(INT8.name, "always", "samples to calibrate with; no training")]
    if accuracy:
        rungs += [
            _forecast(rung, f"{' or '.join(accuracy)} is missed", bench, step_s)
            for rung in truer(budget.max_drop, may_float=bench.recipe.convert.edges == "auto")
        ]
    if costs:
        channels = Rung("channels", (CHANNELS, QAT))
        learned = Rung("student", (TEACHER, STUDENT, QAT))
        rungs.append(_forecast(channels, f"{' or '.join(costs)} is missed", bench, step_s))
        rungs.append(_forecast(learned, "the cuts that keep the limits are not accurate enough", bench, step_s))
    cut = [TEACHER, {**STUDENT, "fraction": 0.5, "of": "bytes"}] if costs else []
    dearest = Rung("dearest", (*cut, QAT)).suiting(bench.recipe.convert)
    recipe = replace(bench.recipe, passes=dearest.passes, budget=budget, distillation={})
    return LadderPlan(tuple(rungs), step_s, recipe)


def _forecast(rung: Rung, when: str, bench: Workbench, step_s: float | None) -> Forecast:
    if not rung.trains:
        return Forecast(rung.name, when, "no training")
    if step_s is None:
        return Forecast(rung.name, when, "training data (--train), which are not there: it is passed over")
    train = bench.data.train
    if not isinstance(train, Dataset):
        return Forecast(rung.name, when, "training data, which are there; how many cannot be told")
    length = Length.of(rung.passes, train, step_s)
    return Forecast(rung.name, when, f"training data, which are there: {length}", length.seconds)
