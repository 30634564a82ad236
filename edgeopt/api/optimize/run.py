"""``edgeopt.optimize``: a recipe's passes in order, each stage exported and measured, and what each of them bought."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...artifact.artifact import Artifact
from ...errors import UsageError
from ...evaluation.budget import LIMITS, Budget
from ...evaluation.metrics import load_metric
from ...passes.registry import Planned, plan, resolved
from ...recipes.convert import ConvertRecipe
from ...recipes.optimize import OptimizeRecipe
from ...training.losses import loss_text
from ..baseline import telling
from ..target import recipe_for
from .binary import check_engine
from .compression import compression_report, overall_change
from .folder import Folder, Kept
from .ladder import Ladder
from .lock import locked
from .opening import Given, opened
from .pace import Clock
from .result import Figures, OptimizeResult, Stage
from .stage import apply, taught
from .workbench import Measuring, Workbench, figures

if TYPE_CHECKING:
    from ...devices import BenchPlan, Device, Progress

ORIGINAL = "original"


@dataclass(frozen=True)
class PlannedRecipe:
    """A recipe that was read and whose passes were made.

    Attributes:
        settings: The recipe.
        planned: Its passes, in order.
        source: The file or built-in name that it was read from; None where it was given as an object.
        climbs: Whether there is no recipe, and a budget is climbed to.
        target: The accelerator that the files of a climb are for; None for none.
    """

    settings: OptimizeRecipe
    planned: tuple[Planned, ...]
    source: str | os.PathLike[str] | None
    climbs: bool = False
    target: str | None = None


Recipe = str | os.PathLike[str] | Mapping[str, object] | OptimizeRecipe | PlannedRecipe


def optimize(
    model: Any,
    recipe: Recipe | None = None,
    *,
    validation: Any,
    train: Any = None,
    calibration: Any = None,
    test: Any = None,
    budget: Budget | None = None,
    convert: ConvertRecipe | None = None,
    metric: str = "accuracy",
    output_name: str | None = None,
    target: str | None = None,
    time_limit_s: float | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    loss: Any = None,
    callbacks: Sequence[Any] = (),
    device: str | Device = "local",
    inventory: str | os.PathLike[str] | None = None,
    runtime: str = "auto",
    bench: BenchPlan | None = None,
    custom_objects: Sequence[str] = (),
    unsafe_load: bool = False,
    on_step: Callable[[str], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> OptimizeResult:
    """Run a recipe, or, without one, find the cheapest file that keeps a budget.

    A recipe's passes are applied in order; after each, the model is exported and the file measured. Without a recipe
    the same is done rung by rung, from an int8 file upwards, until a file keeps the budget (`LadderResult`).

    Args:
        model: A Keras model of either flavour, or the path of a .keras or .h5 file.
        recipe: An `OptimizeRecipe`, its tables, a TOML file, or a built-in name: small, fast, edgetpu, tiny; or what
            `read_recipe` has made of one. None climbs to a budget.
        train: Training data with labels, of any kind that `edgeopt.data.load_dataset` takes, or a
            `keras.utils.PyDataset`.
            Without a recipe they may be absent: nothing is trained then.
        validation: Samples with labels on which each file is scored. Not those of `train`.
        calibration: Samples for the conversion to int8; None takes some of `train`.
        test: Samples with labels that judge the recommended file, of a run without a recipe; None keeps half of
            `validation` for it.
        budget: What a file is to keep, of a run without a recipe. As `convert`, `metric` and `output_name`, it stands
            in a recipe where there is one.
        convert: How files are converted.
        metric: What is scored, as `edgeopt.validate` names it.
        output_name: Name of the output that is scored, of a model with several.
        target: "edgetpu": files of a run without a recipe are what its compiler wants, and no operator stays float.
        time_limit_s: How long a run without a recipe may take, in seconds; the nearest file is taken then.
        output: Folder for ``result.json``, a file a stage, ``model.keras`` and ``recipe.toml``; None writes nothing.
        resume: Go on with the run that was interrupted in `output`.
        force: Write into `output` although it is not empty.
        loss: A Keras loss or its name; None takes the recipe's, the compiled one, or what labels and outputs suggest.
        callbacks: Keras callbacks for the trainings of models of their flavour.
        device: What measures: "local", a name of the inventory, or a `edgeopt.devices.Device`.
        inventory: The inventory's file.
        runtime: "ai_edge_litert", "tflite_runtime", or "auto": the first of them that loads on the device;
            "larq_compute_engine" for a recipe with the pass binarize.
        bench: When a timing ends.
        custom_objects: ``module:NAME`` for what a model file needs.
        unsafe_load: Allow Python code stored in a model file to run.
        on_step: Told in a line what is being done.
        on_progress: Called with every sign of life: of the device, of conversions, and of each step of a training.

    Returns:
        The stages, the first being the original model (without a recipe a `LadderResult`); see
        `OptimizeResult.raise_for_budget`.

    Raises:
        UsageError: A bad recipe, data, or folder (RecipeError, DataError, OutputError).
        ModelError: A pass or the converter cannot take the model.
        PromiseError: A property was lost, or a training diverged (PropertyLostError, TrainingDivergedError).
        DeviceError: The device failed.

    Example:
        >>> result = edgeopt.optimize("model.keras", "fast", train="train.npz", validation="test.npz", output="fast/")
        >>> result.stages[-1].figures["latency_ms"]["p50"]
        >>> optimize("model.keras", budget=Budget(max_drop=0.01), train="train.npz", validation="test.npz").artifact
    """
    from ...devices import RunOptions

    clock = Clock(time_limit_s)
    read = read_budget(budget, convert, metric, output_name, target) if recipe is None else read_recipe(recipe)
    own: dict[str, object] = {} if read.climbs else {"test": test, "time_limit_s": time_limit_s}
    if recipe is not None:
        own |= {"budget": budget, "convert": convert, "output_name": output_name, "target": target}
    if left := [name for name, value in own.items() if value is not None]:
        raise UsageError(f"{', '.join(left)} goes with a run without a recipe; write it into the recipe, or drop that.")
    settings, planned = read.settings, read.planned
    _join_workers(planned, resume)
    RunOptions(runtime=runtime)  # a name that is wrong is refused before anything is trained, as is a student
    check_engine(settings.kinds, device, inventory, runtime)
    for entry in planned:
        entry.step.check()
    written = _named(settings)
    say = on_step or (lambda _line: None)
    if resume and output is None:
        raise UsageError("resume goes with the folder of the run that is to be resumed; give output=...")
    given = Given(model, train, validation, calibration, test, loss, custom_objects, unsafe_load)
    with ExitStack() as stack:
        found = opened(given, settings, stack, telling(on_progress), trains=not read.climbs)
        folder = None
        if output is not None:
            identity = {
                "recipe": written.to_toml(),
                "model": found.digest,
                **{f"{name} data": value for name, value in found.data.digest.items()},
                "loss": loss_text(found.loss),
                "device": device if isinstance(device, str) else type(device).__name__,
                "runtime": runtime,
            }
            stack.enter_context(locked(Path(output), say))
            inputs = [*given.files, *([Path(read.source)] if read.source is not None else [])]
            folder = Folder(output, identity, resume=resume, force=force, inputs=inputs)
        measuring = Measuring(device, inventory, runtime, bench, on_progress)
        shared = Workbench(settings, found.model, found.data, found.loss, callbacks, measuring, say)
        # What the user has given as an object, or allowed to be loaded, is no stranger in the run's own files.
        kept = Kept(folder, say, trusted=unsafe_load or not isinstance(model, (str, os.PathLike)))
        if read.climbs:
            best = Ladder(shared, settings.budget, kept, clock, read.target).climb()
            if folder is not None:
                folder.write_result(best, best.recipe.to_toml())
            return best
        stages, last = _Run(shared, kept, planned).stages()
        result = OptimizeResult(
            tuple(stages),
            written,
            compression_report(stages),
            overall_change(stages),
            last.budget,
            None if folder is None else folder.path,
            (*last.warnings, *shared.chosen_on_validation([entry.training for entry in planned])),
        )
        if folder is not None:
            as_run = replace(
                settings,
                passes=tuple(map(resolved, planned)),
                loss=found.loss if isinstance(found.loss, str) else settings.loss,
            )
            folder.write_result(result, as_run.to_toml())
        return result


class _Run:
    """The stages of a run, one after the other, those that an earlier run has finished read and not made again."""

    def __init__(self, bench: Workbench, kept: Kept, planned: Sequence[Planned]) -> None:
        self._bench, self._kept, self._planned = bench, kept, planned
        self._last: Any = None

    def stages(self) -> tuple[list[Stage], Any]:
        """Return all stages, and the last one's validation."""
        found = [self._original()]
        for number, planned in enumerate(self._planned, 1):
            name = f"{number:02d}-{planned.step.name}"
            finished = self._kept.finished(name, planned.step.name)
            found.append(finished or self._made(name, planned, found))
        if self._last is None:
            # Everything was read: the budget is judged on the last file, measured again.
            self._last = self._bench.validated(found[-1].artifact, self._bench.recipe.budget)
        return found, self._last

    def _original(self) -> Stage:
        name, bench = f"00-{ORIGINAL}", self._bench
        found = self._kept.finished(name, ORIGINAL, bench.original)
        if found is not None:
            return found
        bench.say(f"{name}: converting and measuring")
        artifact, skipped = bench.smallest(bench.original, name, self._kept.work(name))
        measured = self._measure(artifact, last=not self._planned)
        return self._kept.written(Stage(name, ORIGINAL, bench.original, artifact, measured, skipped=skipped))

    def _made(self, name: str, planned: Planned, before: Sequence[Stage]) -> Stage:
        bench, model, last = self._bench, before[-1].model, planned is self._planned[-1]
        bench.say(f"{name}: applying")
        made = [stage.model for stage in before]
        done = apply(planned, model, taught(bench, made), self._kept.work(name), self._kept.trusted)
        bench.say(f"{name}: converting and measuring")
        artifact, dense = bench.smallest(done.exported, name, self._kept.work(name))
        measured = self._measure(artifact, last=last)
        measured["against_previous"] = bench.in_turns(artifact, before[-1].artifact)
        if last:
            only = len(before) == 1
            measured["against_original"] = (
                measured["against_previous"] if only else bench.in_turns(artifact, before[0].artifact)
            )
        left = [{"stage": name, **entry} for entry in done.account.skipped]
        return self._kept.written(
            Stage(
                name,
                planned.step.name,
                done.model,
                artifact,
                measured,
                done.account.report,
                (*left, *dense),
                done.seconds,
                done.account.note,
                done.exported,
            )
        )

    def _measure(self, artifact: Artifact, *, last: bool) -> Figures:
        report = self._bench.validated(artifact, self._bench.recipe.budget if last else Budget())
        if last:
            self._last = report
        return figures(artifact, report)


def read_budget(
    budget: Budget | None,
    convert: ConvertRecipe | None,
    metric: str,
    output_name: str | None,
    target: str | None = None,
) -> PlannedRecipe:
    """Return what `optimize` takes in place of a recipe; TensorFlow is not needed to refuse a bad budget.

    Raises:
        UsageError: There is no limit, or one that this metric does not go with; another target than the Edge TPU, or a
            conversion that its compiler cannot read.
    """
    if budget is None or not any(getattr(budget, name) is not None for name in LIMITS):
        raise UsageError(
            "optimize needs a recipe, or a budget to climb to; give recipe=..., or budget=Budget(max_drop=0.01) "
            "(--recipe, or --max-drop 0.01)."
        )
    scoring = load_metric(metric)
    budget.require_measurable(has_baseline=True, higher_is_better=scoring.higher_is_better, metric=scoring.name)
    asked = convert or ConvertRecipe()
    if target is not None:
        if target != "edgetpu":
            raise UsageError(
                f"Received target {target!r}; a run to a budget goes for edgetpu. For other accelerators convert its "
                "model.keras: edgeopt convert model.keras --target NAME."
            )
        asked = recipe_for(target, asked)
    settings = OptimizeRecipe(convert=asked, budget=budget, metric=metric, output_name=output_name)
    return PlannedRecipe(settings, (), None, True, target)


def read_recipe(recipe: Recipe) -> PlannedRecipe:
    """Return a recipe with its passes, which `optimize` takes; TensorFlow is not needed to refuse a bad one.

    Raises:
        RecipeError: An unknown key or a value that is not allowed, in the recipe or in one of its passes.
        UsageError: There is no such file.
    """
    source: str | os.PathLike[str] | None = None
    if isinstance(recipe, PlannedRecipe):
        return recipe
    if isinstance(recipe, OptimizeRecipe):
        settings = recipe
    elif isinstance(recipe, Mapping):
        settings = OptimizeRecipe.from_tables(recipe)
    else:
        settings, source = OptimizeRecipe.load(recipe), recipe
    return PlannedRecipe(settings, tuple(map(plan, settings.passes)), source)


def _join_workers(planned: Sequence[Planned], resume: bool) -> None:
    """Meet the other workers of ``TF_CONFIG`` before TensorFlow computes anything, where the recipe wants them.

    Raises:
        UsageError: TensorFlow has begun to compute, or the run is a resumed one.
    """
    if not any(entry.training.strategy == "multi_worker" for entry in planned):
        return
    if resume:
        raise UsageError(
            "A run with strategy='multi_worker' cannot be resumed: only the first worker has written checkpoints, and "
            "the others would begin elsewhere; begin anew with force=True."
        )
    from ...training.strategies import join_workers

    join_workers()


def _named(recipe: OptimizeRecipe) -> OptimizeRecipe:
    """The recipe with the names of what is no text or number in it, so that it can be written."""
    passes = tuple({key: _text(value) for key, value in table.items()} for table in recipe.passes)
    return replace(recipe, passes=passes)


def _text(value: Any) -> Any:
    """What TOML holds as it is; of what only Python can give, such as a function as the student, the name."""
    if value is None or isinstance(value, (str, int, float, list, tuple, Mapping)):
        return value
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}:{named.__qualname__}"
