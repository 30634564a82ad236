"""What ``edgeopt bench --pipeline`` measured of parts that run side by side."""

from __future__ import annotations

from typing import Literal, TypedDict

from ..devices.agent import records
from ..devices.measurement import KernelProfile
from .shared import Flaw, Interval, Turns


class _PartMore(TypedDict, total=False):
    edge_tpu: records.EdgeTpuFacts


class PipelinePart(_PartMore):
    """A part: its file, what ran it, and how long its median invocation took."""

    name: str
    sha256: str
    size_bytes: int
    kernel_profile: KernelProfile
    load_ns: int
    run_ns: float
    run_ms: float
    runs: int
    peak_rss_bytes: int | None


class Way(TypedDict):
    """The time of a sample, in milliseconds, and samples a second."""

    ms: float
    ms_ci95: Interval | None
    per_second: float


class Whole(_PartMore, Way):
    """The whole model, with the number of threads that made it faster; `run_ns` is its median inference."""

    sha256: str
    size_bytes: int
    kernel_profile: KernelProfile
    load_ns: int
    run_ns: float


class Blocks(TypedDict):
    """Nanoseconds a sample, block by block of the turns."""

    stream_ns: list[int]
    single_ns: list[int]
    whole_ns: list[int] | None


class _PipelineMore(TypedDict, total=False):
    latency_note: str


class DevicePipeline(_PipelineMore):
    """What ``edgeopt bench --pipeline`` says of one device."""

    artifact: str
    device: str
    pipeline: list[PipelinePart]
    whole: Whole | None
    stream: Way
    single: Way
    throughput: Turns | None
    latency: Turns | None
    queue: int
    link_bytes: list[int]
    samples: int
    batch: int
    differences: list[records.Difference] | None
    different_samples: int | None
    seconds: float
    threads: int
    blocks: Blocks
    conditions: records.Conditions
    invalid: list[Flaw]
    runtimes_skipped: list[records.Skipped]
    machine: str
    emulated: bool


PipelineVerdict = Literal["ok", "invalid", "different"]


class Pipeline(DevicePipeline):
    """What ``edgeopt bench --pipeline --json`` writes.

    Attributes:
        artifact: The whole, or the first part where none was given.
        stream: From result to result, with the pipeline full.
        single: Of one sample, with no other on its way.
        throughput: The full pipeline's time a sample against the whole's, in turns; null without a whole.
        latency: A single sample's time against the whole's.
        queue: Slots between two parts.
        link_bytes: What is handed over of a sample: in front of each part, and behind the last.
        different_samples: In how many samples an output differs from the whole's in any bit.
        threads: Of all parts together.
        invalid: Why the times do not count; empty if they do.
    """

    verdict: PipelineVerdict


class PipelineDevices(TypedDict):
    """What ``edgeopt bench --pipeline --json`` writes of several devices."""

    verdict: PipelineVerdict
    devices: list[DevicePipeline]
