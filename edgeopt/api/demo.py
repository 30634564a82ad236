"""The demo: train small, convert, prune, train quantised, validate each file on this machine, find the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..artifact.artifact import Artifact
from ..artifact.envelope import envelope
from ..artifact.shown import Shown
from ..errors import ConversionError, OutputError, UsageError, nearest
from ..process.isolation import ChildCrash, run_isolated
from ..process.quiet import load_tensorflow_quietly
from ..process.request import Request

if TYPE_CHECKING:
    from ..evaluation.report import ValidationReport
    from .optimize.result import LadderResult

# A row each: the name of its file -> what the table calls it.
VARIANTS = {
    "float32": "float32",
    "float16": "float16",
    "dynamic": "dynamic",
    "int8": "int8",
    "int8_qat": "int8, QAT",
    "int8_prune50_qat": "int8, prune 50 % + QAT",
}
DATASETS = ("digits", "watch")
# The models take microseconds, thousands of runs fit into that; a fresh process of the agent takes longer than them.
_BENCH_S, _BENCH_PROCESSES = 0.5, 5
_MAX_DROP = 0.01


@dataclass(frozen=True)
class DemoRequest(Request):
    """What the child is to make: the data set's name, the seed of the training, and the folder for the files."""

    dataset: str
    seed: int
    folder: str


@dataclass(frozen=True)
class DemoFacts:
    """What was trained.

    Attributes:
        train: Number of training samples.
        test: Number of test samples.
        parameters: Number of the model's weights.
        epochs: Variant -> how many epochs it was trained for in all.
    """

    train: int
    test: int
    parameters: int
    epochs: Mapping[str, int]


@dataclass(frozen=True)
class DemoRow:
    """One file of the demo.

    Attributes:
        variant: What the table calls it.
        quantize: The mode of its conversion.
        file: Its name in the folder.
        size_bytes: Its size.
        gzip_bytes: Its size after gzip, level 9.
        sparsity: Fraction of zeros in its kernels, in [0, 1].
        fully_int8: Whether no float tensor is left in it.
        accuracy: On the test samples, in [0, 1].
        accuracy_ci95: The 95 % interval of that.
        latency_ms: The latency report of `edgeopt.validate`, in milliseconds.
        kernel_profile: What it was run with.
        epochs: How many epochs of training are in it, in all.
    """

    variant: str
    quantize: str
    file: str
    size_bytes: int
    gzip_bytes: int
    sparsity: float
    fully_int8: bool
    accuracy: float
    accuracy_ci95: Sequence[float]
    latency_ms: Mapping[str, float]
    kernel_profile: Mapping[str, Any]
    epochs: int


@dataclass(frozen=True, repr=False)
class DemoResult(Shown):
    """What the demo made.

    Attributes:
        dataset: The data set's name.
        facts: What was trained.
        folder: Where the files are.
        rows: One a file.
        best: What `edgeopt.optimize` found for a budget of one point of accuracy; its file is ``best/model.tflite``.
    """

    dataset: str
    facts: DemoFacts
    folder: str
    rows: tuple[DemoRow, ...]
    best: LadderResult

    def shown(self) -> Mapping[str, object]:
        """Return what a prompt or a notebook shows."""
        rows = {row.variant: f"{row.size_bytes:,} bytes, accuracy {row.accuracy:.3f}" for row in self.rows}
        return {"dataset": self.dataset, "folder": self.folder, **rows}

    def to_dict(self) -> dict[str, object]:
        """Return the result in the JSON envelope."""
        counts = {name: value for name, value in vars(self.facts).items() if name != "epochs"}
        rows = [dict(vars(row)) for row in self.rows]
        return envelope(
            "demo",
            "ok",
            {"dataset": self.dataset, **counts, "folder": self.folder, "rows": rows, "best": self.best.to_dict()},
        )


def demo(
    folder: str | Path,
    *,
    dataset: str = "digits",
    seed: int = 0,
    force: bool = False,
    on_step: Callable[[str], None] | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> DemoResult:
    """Train on data that an installed package carries, and compare files of the model on this machine.

    The files are float32, float16, dynamic-range and int8 by calibration, int8 after quantisation-aware training, and
    int8 after pruning to 50 % and quantisation-aware training that keeps the zeros. Then `edgeopt.optimize` looks for
    the cheapest file that loses at most a point of accuracy.

    Args:
        folder: Where the model, the data, the files and their reports go.
        dataset: "digits" (scikit-learn) or "watch" (seglearn).
        seed: Of the training.
        force: Use the folder although it is not empty.
        on_step: Told what is being done, epoch by epoch.
        on_stage: Told what each of the few stages does, a line each.

    Raises:
        UsageError: An unknown data set, or one whose package is not installed.
        OutputError: The folder is not empty, or cannot be written.
    """
    from ..devices import BenchPlan
    from ..evaluation.budget import Budget
    from .optimize import optimize
    from .validate import validate

    step, stage = on_step or (lambda text: None), on_stage or (lambda text: None)
    target = _prepare_folder(folder, dataset, force)
    facts = _make_files(target, dataset, seed, {"step": step, "stage": stage})
    stage(f"validating the {len(VARIANTS)} files on this machine: {facts.test} samples each, and the time of one")
    plan = BenchPlan(min_seconds=_BENCH_S, processes=_BENCH_PROCESSES)
    rows = []
    for variant, title in VARIANTS.items():
        step(f"validating {title}")
        file = target / f"{dataset}_{variant}.tflite"
        report = validate(str(file), data=str(target / "test.npz"), bench=plan)
        rows.append(_row(title, file, report, facts.epochs[variant]))
    stage("looking for the cheapest file that loses at most a point of accuracy")
    step("loading TensorFlow")
    load_tensorflow_quietly()
    best = optimize(
        target / "model.keras",
        budget=Budget(max_drop=_MAX_DROP),
        train=str(target / "train.npz"),
        validation=str(target / "test.npz"),
        output=target / "best",
        force=True,
        bench=plan,
        on_step=step,
    )
    return DemoResult(dataset, facts, str(target), tuple(rows), cast("LadderResult", best))


def _prepare_folder(folder: str | Path, dataset: str, force: bool) -> Path:
    if dataset not in DATASETS:
        raise UsageError(f"Unknown demo data set {dataset!r}{nearest(dataset, DATASETS)}")
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make the folder {target}: {error.strerror}; choose another with -o.") from error
    if any(target.iterdir()) and not force:
        raise OutputError(
            f"The folder {target} is not empty; pass --force to write into it, or choose another with -o."
        )
    return target


def _make_files(target: Path, dataset: str, seed: int, told: Mapping[str, Callable[[str], None]]) -> DemoFacts:
    request = DemoRequest(dataset, seed, str(target)).to_dict()

    def tell(event: Mapping[str, Any]) -> None:
        for kind, text in event.items():
            told[kind](str(text))

    try:
        reply = run_isolated("edgeopt.api.demo_training:make_files", request, tell)
    except ChildCrash as crash:
        how = crash.signal_name or crash.tail[-200:]
        raise ConversionError(f"The process that trains and converts ended without a result ({how}).") from crash
    return DemoFacts(**reply)


def _row(variant: str, file: Path, report: ValidationReport, epochs: int) -> DemoRow:
    from .optimize.workbench import zero_share

    artifact, found = Artifact.load(file), report.to_dict()
    sizes = {name: artifact.sidecar[name] for name in ("quantize", "size_bytes", "gzip_bytes", "fully_int8")}
    measured = {name: found[name] for name in ("accuracy", "accuracy_ci95", "latency_ms", "kernel_profile")}
    share = zero_share(artifact.model)
    return DemoRow(variant=variant, file=file.name, sparsity=share, epochs=epochs, **sizes, **measured)
