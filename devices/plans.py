"""What is asked of a device: how a model is run, and when a timing ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import UsageError, nearest
from .agent.plan import Plan
from .agent.runtimes import AUTO, KERNELS, KNOWN, ONNX

_AGENT = Plan()  # what the agent does by hand is what is asked of it from here


@dataclass(frozen=True)
class BenchPlan:
    """When a timing ends: at the first maximum; before that, once both minima are behind and the median is stable.

    The runs and seconds are spread evenly over `processes` fresh processes on the device, one after the other, whose
    medians give the interval; see `edgeopt.devices.agent.stats.process_interval`. `observe_seconds` is how often clock,
    temperature, throttling and power are read meanwhile; 0 is never.
    """

    warmup_runs: int = _AGENT.warmup_runs
    warmup_seconds: float = _AGENT.warmup_seconds
    min_runs: int = _AGENT.min_runs
    max_runs: int = _AGENT.max_runs
    min_seconds: float = _AGENT.min_seconds
    max_seconds: float = _AGENT.max_seconds
    observe_seconds: float = _AGENT.observe_seconds
    processes: int = _AGENT.processes

    def __post_init__(self) -> None:
        if not 1 <= self.min_runs <= self.max_runs:
            raise UsageError(f"min_runs is {self.min_runs} and max_runs {self.max_runs}; expected 1 <= min <= max.")
        if not 0 <= self.min_seconds <= self.max_seconds:
            raise UsageError(
                f"min_seconds is {self.min_seconds} and max_seconds {self.max_seconds}; expected 0 <= min <= max."
            )
        if self.processes < 1:
            raise UsageError(f"processes is {self.processes}; expected at least 1.")


@dataclass(frozen=True)
class RunOptions:
    """How a model is run.

    Attributes:
        runtime: "ai_edge_litert", "tflite_runtime", or "auto": the first of them that loads on the device. Or
            "onnxruntime", which "auto" means for an .onnx file; or "larq_compute_engine", for binary layers.
        threads: Number of threads of one inference, at least 1 (default 1).
        kernels: "default", "builtin" (without XNNPACK) or "reference" (slow, the same integers everywhere).
        bench: When the timing ends (default: as `BenchPlan` says), or None for no timing.
        op_profile: After a timing, also tell the time of each operator, where the runtime has a profiler.
        against_threads: Threads of the file that it is timed in turns with; None for as many.
        keep: Leave the run's folder, with the outputs, on the device until its next run.
        delegate: "edgetpu", "gpu", or the path of a shared library on the device; None for the runtime's own alone.
        minimum_runtime: The Edge TPU runtime that the file was compiled for, 10 to 14; an older one is refused by name.
    """

    runtime: str = AUTO
    threads: int = 1
    kernels: str = "default"
    bench: BenchPlan | None = BenchPlan()
    delegate: str | None = None
    minimum_runtime: int | None = None
    keep: bool = False
    against_threads: int | None = None
    op_profile: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (("runtime", self.runtime, (AUTO, *KNOWN)), ("kernels", self.kernels, KERNELS)):
            if value not in known:
                raise UsageError(f"Unknown {name} {value!r}{nearest(value, known)}")
        for count in (self.threads, self.against_threads):
            if count is not None and count < 1:
                raise UsageError(f"threads is {count}; expected at least 1.")

    def for_format(self, *, onnx: bool) -> RunOptions:
        """Return the options for a .tflite or an .onnx file, the runtime put in.

        Raises:
            UsageError: The runtime is one of the other format.
        """
        if not onnx:
            if self.runtime == ONNX:
                raise UsageError("onnxruntime runs .onnx files, and this is a .tflite file; convert it with --to onnx.")
            return self
        if self.runtime not in (AUTO, ONNX):
            raise UsageError(
                f"{self.runtime} runs .tflite files, and this is an .onnx file; use --runtime onnxruntime."
            )
        if self.delegate is not None or self.kernels != "default":
            raise UsageError("An .onnx file takes neither delegate nor kernels, which are TFLite's; drop them.")
        return replace(self, runtime=ONNX, op_profile=False)
