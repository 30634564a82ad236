"""What ``optimize``, ``sensitivity`` and ``demo`` say."""

from __future__ import annotations

from typing import Literal, TypedDict

from ..devices.agent import records
from ..devices.measurement import KernelProfile
from ..evaluation.budget import BudgetLine
from ..evaluation.sensitivity import MetricValues, OperatorSensitivity
from .measured import Head, Scored
from .shared import Counts, Faithful, Flaw, Interval, Judged, Profiled, Turns


class StageTurns(Turns):
    """Two stages that were timed in turns; `unmeasured` says why that does not count."""

    unmeasured: list[Flaw]


class _Figures(Scored, Profiled, total=False):
    size_bytes: int
    gzip_bytes: int
    macs: int
    parameters: int
    peak_activation_bytes: int
    expanded_weight_bytes: int
    ops: Counts
    fully_int8: bool
    densify_ops: int
    sparsity: float
    against_previous: StageTurns | None
    against_original: StageTurns | None


class Measured(_Figures):
    """What was measured of a file."""


class Stage(_Figures):
    """A stage: its file, what was measured of it, and what its pass says.

    Attributes:
        kind: Of the pass.
        report: The pass's own.
        sparsity: Fraction of zeros in the kernels, in [0, 1].
        against_previous: Timed in turns with the stage before it.
    """

    name: str
    kind: str
    artifact: str
    seconds: float
    report: dict[str, object]


class _SkippedMore(TypedDict, total=False):
    stage: str
    reason: str
    detail: str


class Skipped(_SkippedMore):
    """What a pass left as it was, and why."""

    subject: str


class ChangedCost(TypedDict):
    """A cost of the file before and after; null where it was not measured, and `ratio` where it was not in turns."""

    before: float | None
    after: float | None
    changed: bool
    ratio: float | None
    ratio_ci95: Interval | None


class ChangedShare(TypedDict):
    """A fraction before and after."""

    before: float
    after: float


class Compression(TypedDict):
    """What one pass changed of the file before it."""

    stage: str
    kind: str
    size_bytes: ChangedCost
    gzip_bytes: ChangedCost
    macs: ChangedCost
    latency_ms: ChangedCost
    sparsity: ChangedShare
    summary: str
    note: str


class Passed(TypedDict):
    """A rung that was not tried, and why."""

    name: str
    reason: str


class Mapping(TypedDict):
    """Which operators of a file an accelerator would run, as is predicted."""

    target: str
    mapped_ops: Counts
    cpu_ops: Counts
    unsure_ops: Counts


class Ladder(TypedDict):
    """Which stage is recommended, and why.

    Attributes:
        mapping: Of the recommended file, for the accelerator that was asked for; null without one.
        final: Measured on samples that chose nothing.
    """

    recommended: str
    reason: str
    passed: list[Passed]
    front: list[str]
    mapping: Mapping | None
    final: Measured


class _OptimizeMore(TypedDict, total=False):
    ladder: Ladder


class Optimize(_OptimizeMore):
    """What ``edgeopt optimize --json`` writes, and ``result.json`` in the run's folder.

    Attributes:
        stages: The original, and one stage a pass; without a recipe, one a rung.
        compression: What each technique bought.
        overall: What all of them together changed; null without a pass.
        recipe: As it was run; the keys are those of a TOML recipe.
        ladder: Without a recipe: which stage is recommended.
    """

    verdict: Judged
    stages: list[Stage]
    skipped: list[Skipped]
    compression: list[Compression]
    overall: Compression | None
    budget: list[BudgetLine]
    recipe: dict[str, object]
    warnings: list[str]


class Rung(TypedDict):
    """A rung that may be climbed; `seconds` is about how long its training takes, null where that cannot be told."""

    name: str
    when: str
    needs: str
    seconds: float | None


class OptimizePlan(TypedDict):
    """What ``edgeopt optimize --dry-run --json`` writes without a recipe; `step_s` is that of a training step."""

    verdict: Literal["ok"]
    rungs: list[Rung]
    step_s: float | None
    recipe: dict[str, object]


class Sensitivity(TypedDict):
    """What ``edgeopt sensitivity --json`` writes.

    Attributes:
        snr_db: Signal to noise of the int8 file's worst output.
        operators: Worst first.
        metric: Of the float and of the int8 file; null without data.
    """

    verdict: Faithful
    snr_db: float
    holds: bool
    samples: int
    held_back: bool
    ranges: str
    operators: list[OperatorSensitivity]
    metric: MetricValues | None
    warnings: list[str]


class DemoRow(TypedDict):
    """One file of the demo."""

    variant: str
    quantize: str
    file: str
    size_bytes: int
    gzip_bytes: int
    sparsity: float
    fully_int8: bool
    accuracy: float
    accuracy_ci95: Interval
    latency_ms: records.Figures
    kernel_profile: KernelProfile
    epochs: int


class DemoBest(Head, Optimize):
    """What ``edgeopt optimize`` found for a budget."""

    kind: Literal["optimize"]


class Demo(TypedDict):
    """What ``edgeopt demo --json`` writes."""

    verdict: Literal["ok"]
    dataset: str
    train: int
    test: int
    parameters: int
    folder: str
    rows: list[DemoRow]
    best: DemoBest
