"""What an agent tells, as types: facts of a board, timings and evaluations, in the words of a reply's JSON."""

from __future__ import annotations

import sys
from typing import Dict, List, Optional

if sys.version_info >= (3, 8):
    from typing import TypedDict
else:

    class TypedDict(dict):
        """On Python 3.7 these types are names alone."""

        def __init_subclass__(cls, total: bool = True) -> None:
            """Take what a typed dictionary takes."""


class _Bits(TypedDict, total=False):
    raw: str


class Throttling(_Bits):
    """What a Raspberry Pi's firmware says: the bits in hex, which nobody needs, and the names of those that are set."""

    flags: List[str]


class Busy(TypedDict):
    """A program that takes `cores` of the processor's cores."""

    name: str
    pid: int
    cores: float


class Look(TypedDict, total=False):
    """What is quickly read of a board: clock in MHz, heat in degrees Celsius, power in watts; None is unknown."""

    frequency_mhz: Optional[float]
    temperature_c: Optional[float]
    throttling: Optional[Throttling]
    power_w: Optional[float]


class State(Look, total=False):
    """All that changes of a board between two runs; `busy` is None where it was not looked for."""

    governors: Optional[List[str]]
    load_average: Optional[List[float]]
    memory_available_bytes: Optional[int]
    busy: Optional[List[Busy]]


class Observation(Look, total=False):
    """A look in the middle of a timing, so many seconds and runs after its start."""

    seconds: float
    runs: int


class _Around(TypedDict):
    board: Dict[str, object]
    before: State
    after: State
    peak_rss_bytes: Optional[int]


class Conditions(_Around, total=False):
    """What a timing was taken under: the board, its state before and after, and the most memory that was in use.

    `grown_bytes` is what the process has taken beyond its code and files by loading one file and running it once; it is
    absent where there were several files.
    """

    grown_bytes: Optional[int]


class Chip(TypedDict, total=False):
    """An Edge TPU: its device file, and whether this user may open it; of USB its speed, of PCIe its heat."""

    path: str
    permitted: bool
    speed_mbps: Optional[float]
    temperature_c: Optional[float]


class EdgeTpu(TypedDict):
    """The library, None where the loader finds none, and the chips on USB and on PCIe."""

    library: Optional[str]
    usb: List[Chip]
    pci: List[Chip]


class EdgeTpuFacts(EdgeTpu):
    """The same of a run, with the device that was asked for ("any" without one) and the Edge TPU runtime's version."""

    device: str
    runtime_version: Optional[int]


class Installation(TypedDict):
    """A TFLite runtime on the board: its version and NumPy's, or the problem for which it cannot be used."""

    name: str
    version: Optional[str]
    numpy: Optional[str]
    problem: Optional[str]


class Info(TypedDict):
    """The reply to "info"; `time_s` is the board's clock, in seconds since 1970."""

    protocol: int
    board: Dict[str, object]
    state: State
    runtimes: List[Installation]
    edge_tpu: EdgeTpu
    disk_free_bytes: Optional[int]
    time_s: float


class Skipped(TypedDict):
    """A runtime that was tried before the one that ran, and the reason why it was left."""

    runtime: str
    reason: str


class Operator(TypedDict):
    """The time of an operator, in milliseconds an inference, and its share of the whole, in [0, 1]."""

    op: str
    by: str
    index: int
    ms: float
    share: float


class OpProfile(TypedDict, total=False):
    """The operators in the order in which they run, over so many runs; or the problem for which there are none."""

    runs: int
    operators: List[Operator]
    problem: str


class Turns(TypedDict, total=False):
    """Two models in turns: the median run of each block, pair by pair, and the median ratio of the pairs."""

    first_ns: List[int]
    second_ns: List[int]
    ratio: float
    seconds: float
    block_ns: int
    other_load_ns: int
    process_ratios: List[float]


class Timing(TypedDict, total=False):
    """The ``latency`` of a reply; see `latency.measure`, `benchmark.bench` and `processes.merged`.

    Of each of its `processes` there are the figures alone, from `p50_ns` to `first_ns`.
    """

    p50_ns: float
    p95_ns: float
    runs: int
    seconds: float
    stable: bool
    load_ns: int
    first_ns: int
    samples_ns: List[int]
    kept_every: int
    warmup_runs: int
    stopped_by: str
    conditions: Conditions
    observed: List[Observation]
    comparison: Turns
    processes: "List[Timing]"
    plan: Dict[str, float]


class PartFacts(TypedDict, total=False):
    """A part of a pipeline, or the whole: what ran it, the time of loading, and of the median invocation in it.

    `kernel_profile` has the fields of `edgeopt.devices.measurement.KernelProfile`.
    """

    name: str
    kernel_profile: Dict[str, object]
    edge_tpu: EdgeTpuFacts
    load_ns: int
    run_ns: float
    runs: int
    peak_rss_bytes: Optional[int]


class Difference(TypedDict):
    """An output of a pipeline, and in how many samples it differs from the whole's."""

    output: str
    samples: int


class Pipelined(TypedDict, total=False):
    """The ``pipeline`` of a reply; see `pipeline.pipeline`, and of its `processes` the times alone.

    Times are nanoseconds a sample, block by block: `stream_ns` with the pipeline full, `single_ns` with one sample on
    its way at a time, and `whole_ns` of the whole.
    """

    parts: List[PartFacts]
    whole: PartFacts
    queue: int
    link_bytes: List[int]
    samples: int
    batch: int
    differences: Optional[List[Difference]]
    stream_ns: List[int]
    single_ns: List[int]
    whole_ns: List[int]
    seconds: float
    conditions: Conditions
    processes: "List[Pipelined]"


class Figures(TypedDict, total=False):
    """The figures of a series of latencies, in milliseconds; see `stats.summarize` and `stats.latency_figures`."""

    p50: float
    p90: float
    p95: float
    p99: float
    mean: float
    min: float
    max: float
    mad: float
    p95_worst: float
    p50_ci95: Optional[List[float]]
    load: float
    first: float
    cold: float


class Runs(TypedDict):
    """How a timing went: the runs, the seconds that they took, and why it ended."""

    warmup_runs: int
    seconds: float
    stable: bool
    stopped_by: str
    runs: int
    process_p50_ms: List[float]
    no_interval: Optional[str]


class Reported(TypedDict):
    """What a report says of a timing."""

    latency_ms: Figures
    latency_runs: Runs


class Quantised(TypedDict):
    """What the host quantised an input's data for, and the extent of the real values that it did it from."""

    dtype: str
    scale: float
    zero_point: int
    low: float
    high: float


class TensorFacts(TypedDict, total=False):
    """An input or output (see `session.Tensor`); of an input the extent of what was fed, of an output its .npy file."""

    name: str
    tensor_name: str
    index: int
    dtype: str
    shape: List[int]
    signature: List[int]
    scale: Optional[float]
    zero_point: int
    low: float
    high: float
    path: str


class Evaluated(TypedDict):
    """The ``evaluation`` of a reply; see `evaluate.evaluate`."""

    samples: int
    batch: int
    workers: int
    reasons: List[str]
    seconds: float
    inputs: List[TensorFacts]
    outputs: List[TensorFacts]
