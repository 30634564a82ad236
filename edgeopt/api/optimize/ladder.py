"""``edgeopt.optimize`` without a recipe: from the cheapest file upwards, until one keeps the budget.

Candidates are judged on one part of the validation data, and the file that is recommended once more on the other part,
or on the test data: what chose says nothing of what it chose.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...artifact.artifact import Artifact
from ...artifact.typed import fitted
from ...data.dataset import Dataset
from ...errors import ModelError, PromiseError
from ...evaluation.budget import Budget, BudgetLine
from ...evaluation.figures import duration
from ...evaluation.metrics import load_metric
from ...passes.registry import plan
from ..target import predict
from .data import RunData
from .folder import Kept
from .pace import Clock, Length, TimeUp, step_seconds
from .result import LadderResult, Stage
from .rungs import INT8, Climbed, Passed, Rung, missed, next_rung
from .stage import apply, taught
from .workbench import Workbench, figures

_ENOUGH = 20  # samples, so that they can be parted


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

    def __init__(self, bench: Workbench, budget: Budget, kept: Kept, clock: Clock, target: str | None = None) -> None:
        """Prepare to climb.

        Args:
            bench: What all rungs share; its validation data are parted here, where there are no test data.
            budget: What a file is to keep.
            kept: Where stages are kept.
            clock: How long it may take.
            target: The accelerator that the files are for; None for none.
        """
        choosing, judging, self._note = parted(bench.data)
        self._overrun = ""
        self._bench = replace(bench, data=replace(bench.data, validation=choosing))
        self._judge = replace(bench, data=replace(bench.data, validation=judging))
        self._budget, self._kept, self._clock = budget, kept, clock
        self._target = target
        self._step_s: float | None = None

    @property
    def _may_float(self) -> bool:
        return self._bench.recipe.convert.edges == "auto"

    def climb(self) -> LadderResult:
        """Try rungs until a file keeps the budget, nothing is left to try, or the time is over."""
        stages: list[Stage] = []
        climbed: list[Climbed] = []
        passed: list[Passed] = []
        failed: list[str] = []
        may_train = self._bench.data.train is not None
        while True:
            rung, useless = next_rung(climbed, may_train=may_train, may_float=self._may_float, failed=failed)
            passed += [entry for entry in useless if entry.name not in {known.name for known in passed}]
            if rung is None:
                break
            rung = rung.suiting(self._bench.recipe.convert)
            try:
                stage = self._stage(f"{len(stages):02d}-{rung.name}", rung)
            except TimeUp as over:
                passed.append(Passed(rung.name, str(over)))
                break
            except (ModelError, PromiseError) as error:
                if not climbed:
                    raise
                passed.append(Passed(rung.name, str(error)))
                failed.append(rung.name)
                continue
            if not climbed:  # an int8 file is always made; what comes behind it leaves time to judge
                self._clock = replace(self._clock, reserve_s=stage.seconds)
                self._bench = replace(self._bench, check=self._clock.check)
                self._tell_overrun(stage.seconds)
            stages.append(stage)
            climbed.append(Climbed(rung, _lines(stage), _widths(stage)))
        return self._result(stages, climbed, passed)

    def _stage(self, name: str, rung: Rung) -> Stage:
        """Return a rung's stage, read or made.

        Raises:
            TimeUp: There was no time for it.
        """
        found = self._kept.finished(name, rung.name, None if rung.trains else self._bench.original)
        if found is not None:
            return found
        if self._clock.left_s <= 0 and rung != INT8:
            raise TimeUp("the time was over")
        return self._made(name, rung)

    def _tell_overrun(self, seconds: float) -> None:
        """Say at once where the int8 file, which is always made and judged, takes more than the limit."""
        beyond = -self._clock.left_s
        if beyond > 0:
            self._overrun = (
                f"The time limit is too short, by up to {duration(beyond)}: making and measuring the int8 file took "
                f"{duration(seconds)}, and judging it takes up to that long once more."
            )
            self._bench.say(self._overrun)

    def _length(self, name: str, rung: Rung) -> Length | None:
        """Tell about how long a rung trains, from some timed steps, the first time that one does.

        Raises:
            TimeUp: It is far more than there is. A cut network trains faster than the original that was timed, so that
                what takes up to twice as long as is left is begun.
        """
        train = self._bench.data.train
        if not rung.trains or not isinstance(train, Dataset):
            return None
        if self._step_s is None:
            self._step_s = step_seconds(self._bench)
        length, left = Length.of(rung.passes, train, self._step_s), self._clock.left_s
        self._bench.say(f"{name}: training takes about {duration(length.seconds)}: {length}")
        if length.seconds > 2 * left:
            raise TimeUp(
                f"its training takes about {duration(length.seconds)}, and {duration(max(left, 0.0))} were left"
            )
        return length

    def _made(self, name: str, rung: Rung) -> Stage:
        length = self._length(name, rung)
        started = time.monotonic()
        bench = replace(self._bench, recipe=self._recipe(rung))
        made, exported = [bench.original], bench.original
        reports, left = [], []
        for number, planned in enumerate(map(plan, rung.passes), 1):
            bench.say(f"{name}: {planned.step.name}")
            work = self._kept.work(f"{name}.{number}")
            done = apply(planned, made[-1], taught(bench, made), work, self._kept.trusted)
            made.append(done.model)
            exported = done.exported
            reports.append({"kind": planned.step.name, **done.account.report})
            left += [{"stage": name, **entry} for entry in done.account.skipped]
        bench.say(f"{name}: converting and measuring")
        artifact, dense = bench.smallest(exported, name, self._kept.work(name))
        bench.check()
        measured = bench.validated(artifact, self._budget)
        report = {
            "why": rung.why,
            "kept": rung.kept,
            "expected_training_s": None if length is None else length.seconds,
            "passes": reports,
            "budget": [line.to_dict() for line in measured.budget],
            **self._mapped(artifact),
        }
        stage = Stage(
            name, rung.name, made[-1], artifact, figures(artifact, measured), report, (*left, *dense),
            time.monotonic() - started, exported=exported,
        )  # fmt: skip
        return self._kept.written(stage)

    def _mapped(self, artifact: Artifact) -> dict[str, object]:
        """Return which operators of a file the accelerator would run, as is predicted; nothing without one."""
        if self._target is None:
            return {}
        found = predict(self._target, artifact.model)
        return {"mapping": {name: getattr(found, name) for name in ("target", "mapped_ops", "cpu_ops", "unsure_ops")}}

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
        warnings = [*final.warnings, *filter(None, [self._note, self._overrun])]
        metric = load_metric(self._bench.recipe.metric)
        return LadderResult(
            tuple(stages),
            self._recipe(climbed[number].rung),
            budget=final.budget,
            folder=None if self._kept.folder is None else self._kept.folder.path,
            warnings=tuple(warnings),
            chosen=number,
            reason=reason + next_smaller(stages, climbed, number),
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


def next_smaller(stages: Sequence[Stage], climbed: Sequence[Climbed], number: int) -> str:
    """Return why no smaller file is recommended than the one that keeps the budget, to go behind the reason; or ""."""
    sizes = [stage.figures["size_bytes"] for stage in stages]
    smaller = [index for index, size in enumerate(sizes) if size < sizes[number] and not climbed[index].met]
    if not smaller or not climbed[number].met:
        return ""
    nearest = max(smaller, key=sizes.__getitem__)
    wrong = "; ".join(map(str, missed(climbed[nearest].lines)))
    return f"; not so the next smaller file, {stages[nearest].name}: {wrong}"


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


def _widths(stage: Stage) -> dict[str, float]:
    """Return which fraction of each layer's channels a cut took out; nothing of a stage without one."""
    passes: Any = stage.report["passes"]
    groups = [group for entry in passes for group in entry.get("groups", ())]
    return {group["name"]: 1 - group["after"] / group["before"] for group in groups if group["after"] < group["before"]}


def _p50(stage: Stage) -> float | None:
    latency = stage.figures["latency_ms"]
    return None if latency is None else latency["p50"]
