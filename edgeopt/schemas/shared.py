"""What several results have in common."""

from __future__ import annotations

from typing import Literal, TypedDict

from ..converters.accelerator import OpMapping, Refusal
from ..devices.agent import records
from ..devices.measurement import KernelProfile
from ..evaluation.fidelity import Cause, OutputFidelity

Interval = tuple[float, float]
Faithful = Literal["ok", "not proven", "unfaithful"]
Judged = Literal["ok", "missed", "not proven", "unfaithful"]
Passed = Literal["ok", "failed"]
Counts = dict[str, int]
# JSON has no numbers that are not finite; files have.
Number = float | Literal["inf", "-inf", "nan"]


class Tool(TypedDict):
    """What wrote a result."""

    name: Literal["edgeopt"]
    version: str


class Tensor(TypedDict):
    """An input or output of a file.

    Attributes:
        shape: What an interpreter starts with: dynamic dimensions stand here as 1.
        signature: The shape with -1 for dynamic dimensions.
        scale: Of real = scale * (stored - zero_point); null when the tensor is not quantised.
        tensor_name: The name inside the file.
        index: In the main subgraph.
    """

    name: str
    dtype: str
    shape: list[int]
    signature: list[int]
    scale: Number | None
    zero_point: int | None
    tensor_name: str
    index: int


class Metric(TypedDict):
    """A metric's value, with its 95 % interval."""

    name: str
    value: float
    higher_is_better: bool
    ci95: Interval
    ci_method: str


class Flaw(TypedDict):
    """Why a timing does not count."""

    reason: str
    detail: str


class Turns(TypedDict):
    """Two files that were timed in turns, in blocks A B B A ...

    Attributes:
        ratio: Median over the pairs of blocks of time A / time B: below 1, the first is faster.
        verdict: Of the first file, at 95 % confidence.
    """

    ratio: float
    ratio_ci95: Interval | None
    first_ms: float
    second_ms: float
    pairs: int
    processes: int
    no_interval: str | None
    verdict: Literal["faster", "slower", "no difference shown"]


class Timing(TypedDict, total=False):
    """A timing with its conditions; without one its fields are not there.

    Attributes:
        latency_ms: Of one inference.
        unmeasured: Why the times neither keep nor miss a limit; empty if they count.
        emulated: Whether an emulator ran it: then the times say nothing of a board.
    """

    latency_ms: records.Figures | None
    latency_runs: records.Runs
    conditions: records.Conditions
    emulated: bool
    unmeasured: list[Flaw]
    latency_note: str


class Profiled(Timing, total=False):
    """A timing, and which kernels ran."""

    device: str
    kernel_profile: KernelProfile


class Fidelity(TypedDict):
    """How near a file's outputs are to the model's.

    Attributes:
        snr_db: Of the worst output.
        holds: Whether all outputs are the model's.
        verdict: "not proven" where they hardly move over the samples.
        held_back: Whether the samples made no ranges of the file.
        cause: Where the values part; null where the file holds, or where it is not known.
    """

    snr_db: float
    holds: bool
    verdict: Faithful
    outputs: list[OutputFidelity]
    samples: int
    held_back: bool
    cause: Cause | None


class Images(TypedDict):
    """How a folder of images was read."""

    size: tuple[int, int]
    scaling: str
    resize: str
    decoder: str
    adapted: Counts
    classes: list[str]


class Prediction(TypedDict):
    """What a compiler would do with a file; `figures` are the target's own."""

    mapped_ops: Counts
    cpu_ops: Counts
    unsure_ops: Counts
    delegated_subgraphs: int
    reasons: list[OpMapping]
    parameters_cached_bytes: int | None
    parameters_streamed_bytes: int | None
    refusal: Refusal | None
    figures: dict[str, object]
    notes: list[str]


class CompiledFile(TypedDict):
    """What a compiler made of a file; `figures` are the target's own."""

    target: str
    name: str
    size_bytes: int
    compiler: str
    mapped: int
    cpu_ops: Counts
    reasons: list[OpMapping]
    figures: dict[str, object]
