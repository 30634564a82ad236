"""What was measured on devices: ``validate``, ``bench``, ``parity``, ``compare``, ``bundle``, ``verify``."""

from __future__ import annotations

from typing import Literal, TypedDict

from ..devices.agent import records
from ..devices.bench import Energy
from ..devices.measurement import KernelProfile
from ..devices.parity import Limits
from ..evaluation.budget import BudgetLine
from .shared import Counts, Fidelity, Flaw, Images, Interval, Judged, Metric, Passed, Profiled, Tool, Turns


class Head(TypedDict):
    """What begins every result."""

    schema_version: Literal[1]
    tool: Tool


class Scored(TypedDict, total=False):
    """A score, and the baseline's on the same samples.

    Attributes:
        metric: Its value, with its 95 % interval.
        agreement: Share of samples with the baseline's class, in [0, 1].
        accuracy: The metric's value, where it is accuracy.
        accuracy_drop: How much worse than the baseline; there with a baseline, where the metric is accuracy.
        drop: The same of another metric.
    """

    samples: int
    metric: Metric
    agreement: float | None
    accuracy: float
    accuracy_ci95: Interval
    baseline_accuracy: float
    baseline_accuracy_ci95: Interval
    accuracy_drop: float
    accuracy_drop_ci95: Interval
    baseline_metric: float
    baseline_metric_ci95: Interval
    drop: float
    drop_ci95: Interval


class Overlap(TypedDict):
    """Samples that the file was calibrated on, and the scores on the others."""

    count: int
    clean: Scored | None


class _Baseline(TypedDict, total=False):
    kernel_profile: KernelProfile


class Baseline(_Baseline):
    """What the file was compared with: a Keras model, or another file with the kernels that ran it."""

    kind: Literal["keras", "tflite"]


class Classes(TypedDict):
    """The answers of a classifier: samples and right answers by class, and (label, answer, how often)."""

    names: list[str] | None
    samples: list[int]
    right: list[int]
    confused: list[tuple[int, int, int]]


class Reason(TypedDict):
    """Why samples were not run in larger batches or more at a time."""

    reason: str
    meaning: str


class Evaluation(TypedDict):
    """How the samples went through."""

    samples: int
    batch: int
    workers: int
    seconds: float
    reasons: list[Reason]


class _ValidateMore(Scored, Profiled, total=False):
    edge_tpu: records.EdgeTpuFacts
    classes: Classes | None
    right: str
    data_sha256: str
    artifact: str | None
    baseline: Baseline | None
    memory_bytes: int | None
    images: Images | None
    fidelity: Fidelity | None
    baseline_fidelity: Fidelity | None


class Validate(_ValidateMore):
    """What ``edgeopt validate --json`` writes; `Device.validate` knows of no baseline, and leaves its fields out.

    Attributes:
        verdict: The worst that is to be said of the budget and the outputs.
        right: Of accuracy and top5: a bit a sample, 1 where it was answered rightly, from the highest on, in base64.
        data_sha256: Of the samples and labels, in their order; where two have it alike, they are paired.
        artifact: The file.
        memory_bytes: What the interpreter needs.
        images: How a folder of images was read; null for data of another kind.
        fidelity: As the conversion found it.
        baseline_fidelity: How near the outputs are to the baseline's.
        calibration_overlap: Null when it is not known what the file was calibrated on.
        runtimes_skipped: The runtimes that were tried before this one.
        budget: One line a limit.
    """

    verdict: Judged
    sha256: str
    size_bytes: int
    seed: int
    calibration_overlap: Overlap | None
    runtimes_skipped: list[records.Skipped]
    evaluation: Evaluation
    budget: list[BudgetLine]
    warnings: list[str]


class ValidatedDevice(Head, Validate):
    """What ``edgeopt validate --json`` writes of one device."""

    kind: Literal["validate"]


class ValidateDevices(TypedDict):
    """What ``edgeopt validate --json`` writes of several devices."""

    verdict: Judged
    devices: list[ValidatedDevice]


class Window(TypedDict):
    """The median latency in a part of the run, which ended after so many seconds."""

    seconds: float
    p50_ms: float


class _RunMore(Profiled, total=False):
    edge_tpu: records.EdgeTpuFacts
    evaluation: Evaluation
    over_time: list[Window]
    slowdown: float
    observed: list[records.Observation]
    comparison: Turns


class ShownProfile(records.OpProfile, total=False):
    """The time of each operator, or the problem for which there is none."""

    latency_note: str
    runtimes_skipped: list[records.Skipped]


class BenchRun(_RunMore):
    """One timing, with one number of threads.

    Attributes:
        samples_ms: Every timed run, in order.
        invalid: Why the times do not count; empty if they do.
        over_time: Of a run of a minute or more: the median latency in successive parts.
        slowdown: The last part's median over the first part's.
        comparison: How the file compares with the other, timed in turns.
    """

    samples_ms: list[float]
    threads: int
    invalid: list[Flaw]
    energy: Energy | None
    op_profile: ShownProfile | None
    runtimes_skipped: list[records.Skipped]


class OtherFile(TypedDict, total=False):
    """The other file of a bench."""

    sha256: str
    size_bytes: int
    arena_bytes: int | None


class ThreadTrial(TypedDict):
    """A number of threads, timed in turns with the best so far."""

    threads: int
    held_against: int
    comparison: Turns


class ThreadsAuto(TypedDict):
    """With ``--threads auto``: the number that was chosen, and what was tried."""

    chosen: int
    cores: int
    trials: list[ThreadTrial]


class _BenchMore(TypedDict, total=False):
    against: OtherFile
    latency_note: str
    threads_auto: ThreadsAuto


class DeviceBench(_BenchMore):
    """What ``edgeopt bench`` says of one device."""

    artifact: str
    device: str
    sha256: str
    size_bytes: int
    arena_bytes: int | None
    runs: list[BenchRun]
    emulated: bool


class Bench(DeviceBench):
    """What ``edgeopt bench --json`` writes; "invalid" where a run does not count.

    Attributes:
        artifact: The file.
        arena_bytes: Planned from the file; null where it cannot be.
        against: The other file, timed in turns with it.
        runs: One timing for each number of threads.
        emulated: Whether the board is emulated: then the times say nothing of it.
    """

    verdict: Literal["ok", "invalid"]


class BenchDevices(TypedDict):
    """What ``edgeopt bench --json`` writes of several devices."""

    verdict: Literal["ok", "invalid"]
    devices: list[DeviceBench]


class Difference(TypedDict):
    """How far stored values lie apart: at most, in which share of the elements, and how often by how much."""

    equal: bool
    max_lsb: int
    share: float
    lsb_histogram: Counts


class Divergence(Difference):
    """The first operator, in execution order, whose result differs."""

    op: str
    index: int
    tensor: str
    tensor_index: int


class Side(TypedDict):
    """One of the two: a device, or what was recorded on one."""

    device: str
    machine: str
    kernel_profile: KernelProfile


class ParityFields(Difference):
    """What a parity found."""

    verdict: Passed
    level: str
    limits: Limits
    held: bool
    samples: int
    agreement: float | None
    outputs: dict[str, Difference]
    first_divergence: Divergence | None
    trace_note: str
    kernel_profiles: list[KernelProfile]
    sides: list[Side]
    explained: bool | None
    explanation: str


class Parity(ParityFields):
    """What ``edgeopt parity --json`` writes.

    Attributes:
        level: The promise that was asserted: L0 to L3.
        agreement: Share of samples with the same class; null where no output holds scores.
        trace_note: Why the first divergence was not looked for; empty if it was.
        explained: Whether the kernel profiles explain the difference; null when there is none.
    """

    artifact: str
    sha256: str


class ParityGolden(TypedDict):
    """What ``edgeopt parity --record --json`` writes: where golden vectors went, and what made them."""

    verdict: Literal["ok"]
    golden: str
    sha256: str
    device: str
    kernel_profile: KernelProfile


class MetricDifference(TypedDict):
    """The gain over the reference's metric, positive is better; paired where both saw the same samples."""

    gain: float
    ci95: Interval
    paired: bool


Better = Literal["better", "worse", "no difference shown", "not known"]


class _AgainstMore(TypedDict, total=False):
    metric: Better
    size_bytes: Better
    gzip_bytes: Better
    macs: Better
    peak_activation_bytes: Better


class Against(_AgainstMore):
    """What is to be said of a file against the reference; nothing of the reference itself."""

    metric_difference: MetricDifference | None


class TimedTurns(TypedDict):
    """Timings in turns with the reference; they count, or have flaws."""

    place: str
    ratio: float
    ratio_ci95: Interval | None
    verdict: Better
    counts: bool
    flaws: list[str]


class ComparedFile(TypedDict):
    """One file of a comparison; what is null is not known."""

    name: str
    file: str | None
    sha256: str | None
    metric: Metric | None
    samples: int | None
    size_bytes: int | None
    gzip_bytes: int | None
    macs: int | None
    peak_activation_bytes: int | None
    latencies_ms: dict[str, float]
    against_reference: Against
    turns: list[TimedTurns]


class Compare(TypedDict):
    """What ``edgeopt compare --json`` writes; the first file is the reference."""

    verdict: Literal["ok"]
    reference: str
    files: list[ComparedFile]


class BundledFile(TypedDict):
    """A file of an archive."""

    sha256: str
    size_bytes: int


class Bundle(TypedDict):
    """The ``manifest.json`` of an archive that ``edgeopt bundle`` wrote: its model, and all its other files by name."""

    verdict: Literal["ok"]
    model: str
    files: dict[str, BundledFile]


class ReplayedParity(Head, ParityFields):
    """How a device's answers compare with the recorded ones."""

    kind: Literal["parity"]


class Verify(TypedDict):
    """What ``edgeopt verify --json`` writes: the SHA-256 of each file, and the replay; null without a device."""

    verdict: Passed
    bundle: str
    files: dict[str, str]
    parity: ReplayedParity | None
