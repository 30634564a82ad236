"""``edgeopt.optimize`` without a recipe: from the cheapest file upwards, until one keeps the budget.

Candidates are judged on one part of the validation data, and the file that is recommended once more on the other part,
or on the test data: what chose says nothing of what it chose.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...artifact.typed import fitted
from ...data.dataset import Dataset
from ...errors import ModelError, PromiseError
from ...evaluation.budget import Budget, BudgetLine
from ...evaluation.metrics import load_metric
from ...passes.registry import plan
from .data import RunData
from .folder import Kept
from .result import LadderResult, Stage
from .rungs import Climbed, Passed, Rung, missed, next_rung
from .stage import apply
from .workbench import Workbench, figures

_ENOUGH = 20  # samples, so that they can be parted


class TimeUp(Exception):
    """The time that a run may take is over, in the middle of a training."""


@dataclass(frozen=True)
class Clock:
    """How long a run may take, in seconds from now; None for no limit."""

    limit_s: float | None
    started: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return self.limit_s is not None and time.monotonic() - self.started > self.limit_s

    def callbacks(self) -> list[Any]:
        """Return callbacks, one a flavour, that end a training when the time is over; none without a limit.

        Raises:
            TimeUp: In the training.
        """
        if self.limit_s is None:
            return []
        from ...models.detect import Flavour
        from ...models.load import import_keras

        return [_stopping(import_keras(flavour), self) for flavour in (Flavour.KERAS3, Flavour.TF_KERAS)]


def _stopping(keras: Any, clock: Clock) -> Any:
    class _Stop(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if clock.is_over:
                raise TimeUp

    return _Stop()


def parted(data: RunData) -> tuple[Any, Any, str]:
    """Return the samples that choose, those that judge, and what is to be said where they are the same.

    Where there are no test data, half of the validation data judge.
    """
    given = data.validation
    if data.test is not None:
        return given, data.test, ""
    if not isinstance(given, Dataset) or given.count < _ENOUGH:
        same = (
            "The validation samples chose the file and judge it, since they cannot be parted; give others with --test."
        )
        return given, given, same
    rows = np.random.default_rng(0).permutation(given.count)
    half = given.count // 2
    return given.take(np.sort(rows[half:])), given.take(np.sort(rows[:half])), ""


class Ladder:
    """A run from rung to rung."""

    def __init__(self, bench: Workbench, budget: Budget, kept: Kept, clock: Clock) -> None:
        """Prepare to climb.

        Args:
            bench: What all rungs share; its validation data are parted here, where there are no test data.
            budget: What a file is to keep.
            kept: Where stages are kept.
            clock: How long it may take.
        """
        choosing, judging, self._note = parted(bench.data)
        self._bench = replace(bench, data=replace(bench.data, validation=choosing))
        self._judge = replace(bench, data=replace(bench.data, validation=judging))
        self._budget, self._kept, self._clock = budget, kept, clock

    @property
    def _may_float(self) -> bool:
        return self._bench.recipe.convert.edges != "int8"

    def climb(self) -> LadderResult:
        """Try rungs until a file keeps the budget, nothing is left to try, or the time is over."""
        stages: list[Stage] = []
        climbed: list[Climbed] = []
        passed: list[Passed] = []
        while True:
            rung, useless = next_rung(climbed, may_train=self._bench.data.train is not None, may_float=self._may_float)
            passed += [entry for entry in useless if entry.name not in {known.name for known in passed}]
            if rung is None:
                break
            if self._clock.is_over and climbed:
                passed.append(Passed(rung.name, "the time was over"))
                break
            name = f"{len(stages):02d}-{rung.name}"
            try:
                stage = self._kept.finished(
                    name, rung.name, None if rung.trains else self._bench.original
                ) or self._made(name, rung)
            except TimeUp:
                passed.append(Passed(rung.name, "the time was over in its training"))
                break
            except (ModelError, PromiseError) as error:
                if not climbed:
                    raise
                passed.append(Passed(rung.name, str(error)))
                break
            stages.append(stage)
            climbed.append(Climbed(rung, _lines(stage), _p50(stage)))
        return self._result(stages, climbed, passed)

    def _made(self, name: str, rung: Rung) -> Stage:
        started = time.monotonic()
        bench = replace(self._bench, recipe=self._recipe(rung))
        model = exported = bench.original
        reports, left = [], []
        for number, planned in enumerate(map(plan, rung.passes), 1):
            bench.say(f"{name}: {planned.step.name}")
            done = apply(planned, model, bench, self._kept.work(f"{name}.{number}"), self._kept.trusted)
            model, exported = done.model, done.exported
            reports.append({"kind": planned.step.name, **done.account.report})
            left += [{"stage": name, **entry} for entry in done.account.skipped]
        bench.say(f"{name}: converting and measuring")
        artifact, dense = bench.smallest(exported, name)
        measured = bench.validated(artifact, self._budget)
        report = {
            "why": rung.why,
            "kept": rung.kept,
            "passes": reports,
            "budget": [line.to_dict() for line in measured.budget],
        }
        stage = Stage(
            name, rung.name, model, artifact, figures(artifact, measured), report, (*left, *dense),
            time.monotonic() - started, exported=exported,
        )  # fmt: skip
        return self._kept.written(stage)

    def _recipe(self, rung: Rung) -> Any:
        recipe = self._bench.recipe
        return replace(
            recipe,
            passes=rung.passes,
            convert=replace(recipe.convert, **rung.convert),
            distillation={} if rung.trains and recipe.distillation is None else recipe.distillation,
        )

    def _result(self, stages: Sequence[Stage], climbed: Sequence[Climbed], passed: Sequence[Passed]) -> LadderResult:
        number, reason = recommended(climbed)
        chosen = stages[number]
        self._bench.say(f"{chosen.name}: judging on samples that chose nothing" if not self._note else self._note)
        final = self._judge.validated(chosen.artifact, self._budget)
        warnings = [*final.warnings, *filter(None, [self._note])]
        metric = load_metric(self._bench.recipe.metric)
        return LadderResult(
            tuple(stages),
            self._recipe(climbed[number].rung),
            budget=final.budget,
            folder=None if self._kept.folder is None else self._kept.folder.path,
            warnings=tuple(warnings),
            chosen=number,
            reason=reason,
            passed=tuple(passed),
            front=pareto_front(stages, higher_is_better=metric.higher_is_better),
            final=figures(chosen.artifact, final),
        )


def recommended(climbed: Sequence[Climbed]) -> tuple[int, str]:
    """Return which rung's file is recommended, and why, in a sentence without its full stop.

    The first that keeps the budget; else the one that misses it by the least.
    """
    met = next((number for number, entry in enumerate(climbed) if entry.met), None)
    if met is not None:
        entry = climbed[met]
        held = "; ".join(map(str, entry.lines))
        kept = all(line.met for line in entry.lines)
        what = "the budget is kept" if kept else "nothing that was measured misses the budget"
        return met, f"{what} at rung {met + 1}, {entry.rung.name}: {held}"
    nearest = min(range(len(climbed)), key=lambda number: climbed[number].excess)
    missing = "; ".join(map(str, missed(climbed[nearest].lines)))
    return nearest, f"no rung keeps the budget; {climbed[nearest].rung.name} is the nearest: {missing}"


def pareto_front(stages: Sequence[Stage], *, higher_is_better: bool) -> tuple[str, ...]:
    """Return the names of the stages that no other one equals in metric, time and size and beats in one of them."""
    points = [_point(stage, higher_is_better) for stage in stages]
    return tuple(
        stage.name
        for stage, point in zip(stages, points, strict=True)
        if not any(other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in points)
    )


def _point(stage: Stage, higher_is_better: bool) -> tuple[float, float, float]:
    value = stage.figures["metric"]["value"]
    return (-value if higher_is_better else value, _p50(stage) or 0.0, stage.figures["size_bytes"])


def _lines(stage: Stage) -> tuple[BudgetLine, ...]:
    found: tuple[BudgetLine, ...] = fitted(tuple[BudgetLine, ...], stage.report["budget"], "budget")
    return found


def _p50(stage: Stage) -> float | None:
    latency = stage.figures["latency_ms"]
    return None if latency is None else latency["p50"]
