"""What pages read of the results that edgeopt writes as JSON: only what is declared here, and checked."""

from __future__ import annotations

from typing import TypedDict

from ..devices.agent.records import OpProfile
from ..evaluation.budget import BudgetLine

Interval = tuple[float, float]


class Flaw(TypedDict):
    """Why a timing does not count."""

    reason: str
    detail: str


class Profile(TypedDict):
    """Which kernels ran; see `edgeopt.devices.KernelProfile`."""

    runtime: str
    version: str
    delegate: str
    threads: int
    kernels: str


class Metric(TypedDict):
    """A metric's value, with its interval."""

    name: str
    value: float
    higher_is_better: bool
    ci95: Interval
    ci_method: str


class Times(TypedDict, total=False):
    """Latencies in milliseconds."""

    p50: float
    p95: float
    p99: float
    cold: float
    p50_ci95: Interval | None


class Runs(TypedDict, total=False):
    """How a timing went."""

    runs: int
    seconds: float
    stable: bool
    process_p50_ms: list[float]
    no_interval: str | None


class State(TypedDict, total=False):
    """A board before or after a timing."""

    governors: list[str] | None
    temperature_c: float | None
    load_average: list[float] | None


class Conditions(TypedDict, total=False):
    """What a timing was taken under."""

    board: dict[str, object]
    before: State
    after: State
    peak_rss_bytes: int | None


class Turns(TypedDict, total=False):
    """Two files, timed in turns."""

    ratio: float
    ratio_ci95: Interval | None
    verdict: str
    pairs: int
    processes: int


class Timing(TypedDict, total=False):
    """A timing with its conditions; what `bench` and `validate` have in common."""

    device: str
    emulated: bool
    kernel_profile: Profile
    latency_ms: Times | None
    latency_runs: Runs
    conditions: Conditions
    unmeasured: list[Flaw]
    invalid: list[Flaw]
    op_profile: OpProfile | None
    comparison: Turns


class Classes(TypedDict):
    """The answers of a classifier, class by class."""

    names: list[str] | None
    samples: list[int]
    right: list[int]
    confused: list[tuple[int, int, int]]


class OutputFidelity(TypedDict):
    """How near an output is to the model's."""

    name: str
    snr_db: float
    worst_channel_db: float
    max_error_steps: float | None
    same_class: float | None
    reasons: list[str]


class Cause(TypedDict):
    """Where a file parts from its model."""

    op: str
    index: int
    layer: str
    remedy: str


class _Judged(TypedDict, total=False):
    verdict: str


class Fidelity(_Judged):
    """How near the outputs are to the model's."""

    snr_db: float
    holds: bool
    outputs: list[OutputFidelity]
    samples: int
    held_back: bool
    cause: Cause | None


class Validation(Timing, total=False):
    """What ``edgeopt validate --json`` writes."""

    verdict: str
    artifact: str | None
    sha256: str
    size_bytes: int
    seed: int
    samples: int
    metric: Metric
    agreement: float | None
    right: str
    data_sha256: str
    baseline: dict[str, object] | None
    accuracy_drop: float
    accuracy_drop_ci95: Interval
    baseline_accuracy: float
    drop: float
    drop_ci95: Interval
    baseline_metric: float
    fidelity: Fidelity | None
    baseline_fidelity: Fidelity | None
    classes: Classes | None
    budget: list[BudgetLine]
    warnings: list[str]


class BenchedFile(TypedDict, total=False):
    """The other file of a bench."""

    sha256: str


class Bench(TypedDict, total=False):
    """What ``edgeopt bench --json`` writes of one device."""

    device: str
    sha256: str
    size_bytes: int
    arena_bytes: int | None
    against: BenchedFile
    runs: list[Timing]


class Side(TypedDict):
    """One of the two devices of a parity."""

    device: str
    machine: str
    kernel_profile: Profile


class Divergence(TypedDict):
    """The first operator that differs."""

    op: str
    index: int
    tensor: str
    max_lsb: int


class Parity(TypedDict, total=False):
    """What ``edgeopt parity --json`` writes."""

    artifact: str | None
    sha256: str
    level: str
    held: bool
    samples: int
    equal: bool
    max_lsb: int
    share: float
    lsb_histogram: dict[str, int]
    agreement: float | None
    first_divergence: Divergence | None
    sides: list[Side]
    explained: bool | None
    explanation: str


class Gain(TypedDict, total=False):
    """What a technique bought."""

    stage: str
    summary: str
    note: str


class Skipped(TypedDict, total=False):
    """What a pass left as it was."""

    stage: str
    subject: str
    reason: str
    detail: str


class NamedFile(TypedDict):
    """The name of a stage, and of its file."""

    name: str
    artifact: str


class Stage(NamedFile, Timing, total=False):
    """A stage of ``edgeopt optimize``."""

    kind: str
    metric: Metric
    samples: int
    accuracy_drop: float
    accuracy_drop_ci95: Interval
    drop: float
    drop_ci95: Interval
    size_bytes: int
    gzip_bytes: int
    macs: int
    sparsity: float
    peak_activation_bytes: int
    against_previous: Turns | None
    against_original: Turns | None


class Final(TypedDict, total=False):
    """The figures of the recommended file on samples that chose nothing."""

    metric: Metric
    samples: int


class Ladder(TypedDict, total=False):
    """Which stage of a run without a recipe is recommended, and why."""

    recommended: str
    reason: str
    final: Final


class Run(TypedDict, total=False):
    """What ``edgeopt optimize`` writes as ``result.json``."""

    verdict: str
    stages: list[Stage]
    skipped: list[Skipped]
    compression: list[Gain]
    overall: Gain | None
    ladder: Ladder
    budget: list[BudgetLine]
    warnings: list[str]


class SensitiveOperator(TypedDict, total=False):
    """What one operator costs as int8."""

    op: str
    layer: str
    macs_share: float
    noise_share: float
    only_int8_db: float
    only_float_db: float
    remedy: str
    advice: str


class Sensitivity(TypedDict, total=False):
    """What ``edgeopt sensitivity --json`` writes."""

    snr_db: float
    samples: int
    operators: list[SensitiveOperator]
    warnings: list[str]


class Inspected(TypedDict, total=False):
    """What ``edgeopt inspect --json`` writes."""

    file: str | None


class SidecarFields(TypedDict, total=False):
    """What a page tells of how a file was converted; `Artifact.load` checks the rest."""

    quantize: str
    source_model: dict[str, object]
    tools: dict[str, object]
    recipe: dict[str, object] | None
    calibration: dict[str, object] | None
    converter: dict[str, object]
    images: dict[str, object] | None
    fidelity: Fidelity | None
    repairs: list[object]
    edges: list[object]
    warnings: list[str]
