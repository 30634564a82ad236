"""What ``edgeopt.optimize`` gives back: each stage with its model, file and figures, and what each technique bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ...artifact.artifact import Artifact
from ...artifact.envelope import envelope
from ...artifact.shown import Shown
from ...evaluation.budget import MISSED, NOT_MEASURED, BudgetLine, overall_verdict, raise_for_budget
from ...evaluation.fidelity import remedy_of, verdict_of
from ...recipes.optimize import OptimizeRecipe
from .rungs import Passed

if TYPE_CHECKING:
    from .compression import Compression


MODEL_FILE = "model.tflite"


class Latency(TypedDict):
    """The median of a timing and its 95 % interval (None from few runs), in milliseconds; further ones as validated."""

    p50: float
    p50_ci95: Sequence[float] | None


class MetricValue(TypedDict):
    """A metric's value and its 95 % interval; further fields are those of `edgeopt.validate`."""

    name: str
    value: float
    ci95: Sequence[float]


class Turns(TypedDict):
    """How a file's latency compares with another's, the two timed in turns: `edgeopt.devices.Comparison` as JSON."""

    ratio: float
    ratio_ci95: Sequence[float] | None
    first_ms: float
    second_ms: float
    pairs: int
    processes: int
    verdict: str
    unmeasured: Sequence[Mapping[str, str]]


class Figures(TypedDict, total=False):
    """What was measured of a stage's file; further fields are those of `edgeopt.validate` and of the sidecar."""

    metric: MetricValue
    samples: int
    accuracy: float
    size_bytes: int
    gzip_bytes: int
    macs: int
    sparsity: float
    latency_ms: Latency | None
    against_previous: Turns | None
    against_original: Turns | None
    densify_ops: int
    expanded_weight_bytes: int


@dataclass(frozen=True, repr=False)
class Stage(Shown):
    """The model after one pass, and what its exported file does.

    Attributes:
        name: ``00-original``, ``01-prune``...: the names of the stage's files begin with it.
        kind: The kind of the pass, or ``original``.
        model: The Keras model, in the user's flavour.
        artifact: The file that was measured.
        figures: ``accuracy`` and ``accuracy_ci95`` (or ``metric``), ``size_bytes``, ``gzip_bytes``, ``macs``,
            ``sparsity`` (of the kernels, in the file's integers), ``latency_ms`` and ``kernel_profile`` as
            `edgeopt.validate` gives them, ``peak_activation_bytes``, ``ops``.
        report: The pass's own report, as JSON values.
        skipped: What the pass left as it was: ``stage``, ``subject``, ``reason``, ``detail``.
        seconds: The time that the pass took, in seconds.
        note: What the pass says of what it buys.
        exported: The model that the file was made of, which is not `model` behind `Qat`; None where the stage was read
            from a folder.
    """

    name: str
    kind: str
    model: Any = field(repr=False)
    artifact: Artifact = field(repr=False)
    figures: Figures
    report: Mapping[str, object] = field(default_factory=dict, repr=False)
    skipped: tuple[Mapping[str, str], ...] = ()
    seconds: float = 0.0
    note: str = ""
    exported: Any = field(default=None, repr=False)

    def shown(self) -> dict[str, object]:
        """Return its name, and what its file is."""
        return {"name": self.name, "file": self.summary}

    @property
    def summary(self) -> str:
        """The file's metric, size and time, in a line."""
        metric, latency = self.figures["metric"], self.figures["latency_ms"]
        time = "not timed" if latency is None else f"{latency['p50']:.4g} ms"
        return f"{metric['name']} {metric['value']:.4g}, {self.figures['size_bytes']:,} bytes, {time}"

    def to_dict(self) -> dict[str, object]:
        """Return the stage as JSON values."""
        head = {"name": self.name, "kind": self.kind, "artifact": f"{self.name}.tflite"}
        return {**head, **self.figures, "seconds": self.seconds, "report": dict(self.report)}


@dataclass(frozen=True, repr=False)
class OptimizeResult(Shown):
    """A recipe that was run.

    Attributes:
        stages: The original, and one stage a pass, in order.
        recipe: The recipe as it was run.
        compression: What each technique bought; see `edgeopt.api.optimize.compression.compression_report`.
        overall: What all of them together changed, from the original's file to the last one; None without a pass.
        budget: One line a limit, judged on the last stage's file.
        folder: The folder that it was written to, or None.
        warnings: What the reader should know of the last stage's measurement.

    Example:
        >>> result = edgeopt.optimize(model, "fast", train=(x, y), validation=(x_test, y_test))
        >>> result.artifact.save("model_int8.tflite")
    """

    stages: tuple[Stage, ...]
    recipe: OptimizeRecipe
    compression: tuple[Compression, ...] = ()
    overall: Compression | None = None
    budget: tuple[BudgetLine, ...] = ()
    folder: Path | None = None
    warnings: tuple[str, ...] = ()

    def shown(self) -> Mapping[str, object]:
        """Return what a prompt or a notebook shows: the verdict, and a line a stage."""
        return {
            "verdict": self.verdict,
            **{stage.name: stage.summary for stage in self.stages},
            "budget": "; ".join(map(str, self.budget)) or None,
            "folder": self.folder,
        }

    @property
    def model(self) -> Any:
        """The last stage's Keras model, in the user's flavour."""
        return self.stages[-1].model

    @property
    def artifact(self) -> Artifact:
        """The last stage's file."""
        return self.stages[-1].artifact

    @property
    def skipped(self) -> tuple[Mapping[str, str], ...]:
        """All that the passes left as it was, with reasons."""
        return tuple(entry for stage in self.stages for entry in stage.skipped)

    @property
    def verdict(self) -> str:
        """As `ValidationReport.verdict`, of the last stage's file."""
        return verdict_of(overall_verdict(self.budget), self.artifact.fidelity)

    @property
    def file(self) -> str:
        """The name of that file in `folder`."""
        return f"{self.stages[-1].name}.tflite"

    @property
    def _remedy(self) -> str:
        return "relax the limit or change the recipe"

    def raise_for_budget(self, *, proven: bool = False) -> None:
        """Do nothing when the budget was kept.

        Args:
            proven: Also raise when it is not proven to be kept; so it is for a budget with ``proven=True``.

        Raises:
            BudgetError: A line was missed, or not proven; the message names each.
        """
        remedy = remedy_of(self.artifact.fidelity, self._remedy)
        raise_for_budget(self.budget, remedy, proven=proven)

    def to_dict(self) -> dict[str, object]:
        """Return what ``result.json`` holds, in the envelope that all verbs share."""
        return envelope(
            "optimize",
            self.verdict,
            {
                "stages": [stage.to_dict() for stage in self.stages],
                "skipped": [dict(entry) for entry in self.skipped],
                "compression": [entry.to_dict() for entry in self.compression],
                "overall": None if self.overall is None else self.overall.to_dict(),
                "budget": [line.to_dict() for line in self.budget],
                "recipe": self.recipe.to_tables(),
                "warnings": list(self.warnings),
            },
        )


@dataclass(frozen=True, repr=False)
class LadderResult(OptimizeResult):
    """What was found without a recipe: a stage a rung, the file that is recommended, and why.

    Attributes:
        stages: One a rung, in the order in which they were tried; their figures are of the samples that chose.
        recipe: How the recommended file was made, to be run again.
        budget: One line a limit, judged on the recommended file with samples that chose nothing.
        chosen: Which stage is recommended: the first that keeps the budget, or else the nearest.
        reason: Why, in a sentence without its full stop.
        passed: The rungs that were not tried, and why.
        front: Names of the stages of which none else is at least as good in metric, time and size, and better in one.
        final: The figures of the recommended file on the samples that judge it.
    """

    chosen: int = 0
    reason: str = ""
    passed: tuple[Passed, ...] = ()
    front: tuple[str, ...] = ()
    final: Figures = field(default_factory=lambda: Figures())

    @property
    def model(self) -> Any:
        """The Keras model of the recommended file, in the user's flavour."""
        return self.stages[self.chosen].model

    @property
    def artifact(self) -> Artifact:
        """The file that is recommended."""
        return self.stages[self.chosen].artifact

    @property
    def file(self) -> str:
        """The name of that file in `folder`."""
        return MODEL_FILE

    @property
    def mapping(self) -> Mapping[str, Any] | None:
        """What the accelerator would run of that file: ``target``, ``mapped_ops``, ``cpu_ops`` and ``unsure_ops``."""
        found: Any = self.stages[self.chosen].report.get("mapping")
        return None if found is None else dict(found)

    @property
    def _remedy(self) -> str:
        lines: Any = self.stages[self.chosen].report.get("budget", ())
        if lines and all(line["verdict"] not in (MISSED, NOT_MEASURED) for line in lines):
            return (
                "the samples that chose this file did not miss it: --proven (proven=True) climbs on until they prove "
                "that it is kept"
            )
        needs = "; ".join(f"{entry.name}: {entry.reason}" for entry in self.passed)
        return f"relax the limit{f', or see what was not tried ({needs})' if needs else ''}"

    def to_dict(self) -> dict[str, object]:
        """Return what ``result.json`` holds: that of a recipe, and the ladder's part."""
        ladder = {
            "recommended": self.stages[self.chosen].name,
            "reason": self.reason,
            "passed": [vars(entry) for entry in self.passed],
            "front": list(self.front),
            "mapping": self.mapping,
            "final": dict(self.final),
        }
        return {**super().to_dict(), "ladder": ladder}
