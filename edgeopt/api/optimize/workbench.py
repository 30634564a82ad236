"""What all stages of a run share: the data, the conversion, and the device that measures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...artifact.artifact import Artifact
from ...errors import ModelError
from ...evaluation.budget import Budget
from ...evaluation.report import ValidationReport
from ...passes.properties import measure_file
from ...recipes.convert import ConvertRecipe
from ...recipes.optimize import OptimizeRecipe
from ...training.context import Array, PassContext
from ...training.distillation import Distillation
from ...training.loop import train
from ...training.options import Training
from ...training.zero_keeper import zero_keeper
from ..baseline import telling
from ..convert import convert
from ..validate import validate
from .data import RunData
from .result import Figures, Turns

if TYPE_CHECKING:
    from ...devices import BenchPlan, Device, Measurement, Progress
    from ...process.isolation import Event

# What a stage's figures take from a validation.
_MEASURED = (
    "metric", "accuracy", "accuracy_ci95", "accuracy_drop", "accuracy_drop_ci95", "drop", "drop_ci95", "agreement",
    "samples", "latency_ms", "latency_runs", "conditions", "unmeasured", "kernel_profile", "device", "emulated",
)  # fmt: skip
# Two files are timed in turns for at most so long.
_TURNS_S = 5.0
# With fewer zeros, the sparse format's indices alone take more than it saves.
_WORTH_TRYING = 0.3
# What they take from an artifact's sidecar.
_READ = (
    "size_bytes", "gzip_bytes", "macs", "parameters", "peak_activation_bytes", "expanded_weight_bytes", "ops",
    "fully_int8",
)  # fmt: skip


@dataclass(frozen=True)
class Measuring:
    """Where files are measured, and how long.

    Attributes:
        device: The device that measures, or its name in the inventory.
        inventory: Path of the inventory; None takes the user's own.
        runtime: The runtime of the device that runs the files; ``auto`` takes the first that loads.
        plan: When a timing ends; None takes `BenchPlan`'s defaults.
        on_progress: Told every sign of life of the device; None tells nobody.
    """

    device: str | Device
    inventory: str | os.PathLike[str] | None
    runtime: str
    plan: BenchPlan | None
    on_progress: Callable[[Progress], None] | None


@dataclass(frozen=True)
class Workbench:
    """What all stages share: data, conversion, and the device that measures.

    Attributes:
        recipe: The recipe as it is run.
        original: The model that the run began with: teacher and baseline.
        data: Training, validation and calibration data.
        loss: The loss of every training.
        callbacks: The user's Keras callbacks, for every training of a model of their flavour.
        measuring: Where files are measured, and how long.
        say: Told in a line what is being done.
        teacher: Who teaches, where the recipe has a distillation; None for the original.
        check: Called at each sign of life of a conversion and a validation, before each timing, and at each step of a
            training; what it raises ends them.
    """

    recipe: OptimizeRecipe
    original: Any
    data: RunData
    loss: Any
    callbacks: Sequence[Any]
    measuring: Measuring
    say: Callable[[str], None]
    teacher: Any = None
    check: Callable[[], None] = lambda: None

    def export(self, model: Any, work: Path | None = None) -> Artifact:
        """Convert a model as the recipe says, with kernels stored dense; `work` is `edgeopt.convert`'s."""
        return self._convert(model, replace(self.recipe.convert, sparse_weights=False), work)

    def _convert(self, model: Any, recipe: ConvertRecipe, work: Path | None) -> Artifact:
        """Convert; the samples that score the files choose what stays float where that is asked for."""
        data, metric, output = self.data.validation, self.recipe.metric, self.recipe.output_name
        chosen = {} if recipe.max_drop is None else {"data": data, "metric": metric, "output_name": output}
        return convert(model, calibration=self.data.calibration, recipe=recipe, on_event=self.tell, work=work, **chosen)

    def tell(self, event: Event) -> None:
        """Tell what runs and how far it is: {``stage``, ``done``, ``total``}."""
        self.check()
        telling(self.measuring.on_progress)(event)

    def smallest(
        self, model: Any, stage: str, work: Path | None = None
    ) -> tuple[Artifact, tuple[Mapping[str, str], ...]]:
        """Convert a model; keep sparse kernels, where the recipe wants them, if the file is smaller and runs.

        Args:
            model: The model.
            stage: Of which stage it is.
            work: That stage's folder for what a resumed run goes on from; None keeps nothing.

        Returns:
            The file, and what was not done, with the reason.
        """
        dense = self.export(model, work)
        if not self.recipe.convert.sparse_weights:
            return dense, ()
        skipped = {"stage": stage, "subject": "sparse_weights"}
        share = zero_share(dense.model)
        if share < _WORTH_TRYING:
            return dense, ({**skipped, "reason": "few-zeros", "detail": f"{share:.1%} of the kernels are zero"},)
        sparse = self._convert(model, self.recipe.convert, work)
        if sparse.size_bytes < dense.size_bytes:
            try:
                self.latency_ms(sparse.model)
            except ModelError as error:  # XNNPACK takes no sparse int8 weights of a fully connected layer
                return dense, ({**skipped, "reason": "does-not-run", "detail": str(error)},)
            return sparse, ()
        detail = f"{sparse.size_bytes:,} bytes with sparse kernels, {dense.size_bytes:,} without"
        return dense, ({**skipped, "reason": "file-not-smaller", "detail": detail},)

    def validated(self, artifact: Artifact, budget: Budget | None = None) -> ValidationReport:
        """Score and time a file, against the original Keras model on the same samples."""
        measuring = self.measuring
        return validate(
            artifact,
            data=self.data.validation,
            device=measuring.device,
            inventory=measuring.inventory,
            runtime=measuring.runtime,
            baseline=self.original,
            metric=self.recipe.metric,
            output_name=self.recipe.output_name,
            budget=budget,
            seed=self.recipe.seed,
            bench=measuring.plan,
            on_progress=self._alive,
        )

    def _alive(self, progress: Progress) -> None:
        self.check()
        if self.measuring.on_progress is not None:
            self.measuring.on_progress(progress)

    def latency_ms(self, data: bytes) -> float:
        """Time a file: the median of an inference, in milliseconds."""
        from ...devices import BenchPlan

        self.check()
        return float(self._measured(data, None, self.measuring.plan or BenchPlan()).timed().figures["p50"])

    def in_turns(self, file: Artifact, other: Artifact) -> Turns | None:
        """Time a file and another in turns, so that what slows the device slows both; None for the same file.

        Two timings one after the other differ by what else the device did meanwhile, and not only by the files.
        """
        from ...devices import BenchPlan

        if file.model == other.model:
            return None
        plan = self.measuring.plan or BenchPlan()
        # The turns are what counts here; each file's own timing is made elsewhere.
        plan = replace(
            plan, min_runs=1, min_seconds=min(plan.min_seconds, _TURNS_S), max_seconds=min(plan.max_seconds, _TURNS_S)
        )
        latency = self._measured(file.model, None, plan, against=other.model).timed()
        if latency.comparison is None:
            return None
        return cast(Turns, {**latency.comparison.to_dict(), "unmeasured": list(latency.unmeasured)})

    def chosen_on_validation(self, trainings: Sequence[Training]) -> tuple[str, ...]:
        """Return what the reader must know where the samples that score the files have chosen something of them."""
        if not any(_watches(training) for training in trainings):
            return ()
        return (
            "The validation samples chose at which epoch a training ended (early_stop), and score the files: their "
            "score is too good by an unknown amount; score the last file on samples that chose nothing.",
        )

    def predict(self, data: bytes, inputs: Mapping[str, Array]) -> list[Array]:
        """Run samples through a file on the device; return the real values of each output."""
        return list(self._measured(data, inputs, None).real_outputs().values())

    def _measured(
        self, data: bytes, inputs: Mapping[str, Array] | None, plan: BenchPlan | None, against: bytes | None = None
    ) -> Measurement:
        from ...devices import RunOptions
        from ..devices import open_device

        with open_device(self.measuring.device, self.measuring.inventory) as target:
            options = RunOptions(runtime=self.measuring.runtime, bench=plan)
            tell = None if against is None else self._alive
            return target.measure(data, inputs, options, against=against, on_progress=tell)

    def context(self, checkpoints: Path | None, training: Training) -> PassContext:
        """Return what a pass gets; only an early stop on validation data makes every epoch look at them."""
        base = PassContext(
            train=self.data.train,
            validation=self.data.validation if _watches(training) else None,
            loss=self.loss,
            seed=self.recipe.seed,
            convert=lambda model: self.export(model).model,
            predict=self.predict,
            measure=self.latency_ms,
            progress=self.say,
            advance=lambda what, done, total: self.tell({"stage": what, "done": done, "total": total}),
            distillation=self._distillation(),
            checkpoints=checkpoints,
            callbacks=tuple(self.callbacks),
        )
        return base if training.epochs == 0 else replace(base, finetune=_finetuner(base, training))

    def _distillation(self) -> Distillation | None:
        if self.recipe.distillation is None:
            return None
        return Distillation(teacher=self.teacher or self.original, **self.recipe.distillation)


def _watches(training: Training) -> bool:
    stop = training.early_stop
    return stop is not None and stop.metric.startswith("val_")


def _finetuner(context: PassContext, training: Training) -> Callable[[Any], Any]:
    """Return what an iterative pass calls between its steps, each training with a checkpoint of its own."""
    count = 0

    def finetune(model: Any) -> Any:
        nonlocal count
        count += 1
        # Zeros that an earlier pass has won stay, as in the training behind the last step.
        return train(model, context, training, name=f"step{count}", keep=zero_keeper(model)[0]).model

    return finetune


def figures(artifact: Artifact, report: ValidationReport) -> Figures:
    """Return what is to be said of a stage's file."""
    measured, sidecar = report.to_dict(), artifact.sidecar
    found = {
        **{name: measured[name] for name in _MEASURED if name in measured},
        **{name: sidecar[name] for name in _READ if name in sidecar},
        "densify_ops": sidecar["ops"].get("DENSIFY", 0),
        "sparsity": zero_share(artifact.model),
    }
    return cast(Figures, found)


def zero_share(data: bytes) -> float:
    """Return the fraction of zeros among the integers (or floats) of all kernels in a file."""
    kernels = list(measure_file(data).values())
    weights = sum(item.size for item in kernels)
    return sum(item.zeros for item in kernels) / weights if weights else 0.0
