"""Latency of a file on a device, for one or more thread counts, with the reasons why a run may not count."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import numpy.typing as npt

from ..artifact.envelope import envelope
from ..artifact.shown import Shown
from ..errors import DeviceError, InvalidRunError, UsageError
from ..flatbuffer import read_model
from ..flatbuffer.memory import memory_use
from ..onnxfile import is_onnx
from .agent.arith import percentile
from .agent.protocol import MOST_THREADS
from .measurement import NOT_A_MEASUREMENT, Latency, Measurement
from .measures import Measures
from .plans import BenchPlan, RunOptions
from .runner import Progress
from .threads import ThreadChoice, best_threads
from .validity import invalid_reasons

if TYPE_CHECKING:
    from .device import Device

SUSTAINED_S = 30.0  # runs at least this long are looked at over time
WINDOWS = 20
LOOKS = 60  # how often the board's state is read in a sustained run


def bench_plan(
    *, runs: int | None = None, seconds: float | None = None, warmup: int | None = None, processes: int | None = None
) -> BenchPlan:
    """Return the plan for a fixed number of runs, or a fixed time; without either it ends once the median is stable.

    Both are for all `processes` (default 9) together, the warm-up for each.

    Raises:
        UsageError: A number out of range.

    Example:
        >>> bench_plan(seconds=300).observe_seconds
        5.0
    """
    if (runs is not None and runs < 1) or (seconds is not None and not 0 < seconds < 1e5):
        raise UsageError(f"runs is {runs} and seconds {seconds}; expected at least 1 run, and a time above 0.")
    if warmup is not None and warmup < 0:
        raise UsageError(f"warmup is {warmup}; expected 0 or more runs.")
    plan = BenchPlan() if processes is None else BenchPlan(processes=processes)
    if warmup is not None:
        plan = replace(plan, warmup_runs=max(1, warmup), warmup_seconds=0.0)
    if runs is not None:
        limit = max(600.0, seconds or 0.0) if seconds is None else seconds
        plan = replace(plan, min_runs=runs, max_runs=runs, min_seconds=0.0, max_seconds=limit)
    elif seconds is not None:
        look = seconds / LOOKS if seconds >= SUSTAINED_S else 0.0
        plan = replace(plan, min_runs=1, max_runs=2**31, min_seconds=seconds, max_seconds=seconds, observe_seconds=look)
    return plan


@dataclass(frozen=True)
class Energy:
    """What a power sensor read during a run; the power that the board takes when it is idle is in it.

    Attributes:
        mean_power_w: Mean of the readings, in watts.
        readings: How often the sensor was read, at least 1.
        joules_per_run: Energy of one inference, in joules: the mean power times the seconds of a run.
        sensor: Where the readings come from: "hwmon", Linux's hardware monitoring.
    """

    mean_power_w: float
    readings: int
    joules_per_run: float
    sensor: str = "hwmon"


class FileFacts(TypedDict, total=False):
    """The file that was timed, with the activation arena that is planned from it; `against` is the other file."""

    sha256: str
    size_bytes: int
    arena_bytes: int | None
    against: FileFacts


@dataclass(frozen=True, eq=False)
class BenchRun:
    """One timing, with one number of threads.

    Attributes:
        measurement: The latencies, with their conditions and kernel profile.
        invalid: Why they do not count: "reason" (a key of `validity.REASONS`) and "detail" of each; empty if they do.
    """

    measurement: Measurement
    invalid: tuple[dict[str, str], ...]

    @property
    def latency(self) -> Latency:
        """The timing, which a bench always has."""
        return self.measurement.timed()

    def over_time(self) -> list[dict[str, float]]:
        """Return the median latency in successive parts of the run: "seconds" (their end) and "p50_ms"."""
        parts = np.array_split(self.latency.samples_ms, min(WINDOWS, len(self.latency.samples_ms)))
        total = self.latency.runs["seconds"]
        spent = np.cumsum([part.sum() for part in parts])
        ends = spent / spent[-1] * total
        return [{"seconds": float(end), "p50_ms": percentile(part, 50)} for end, part in zip(ends, parts, strict=True)]

    @property
    def slowdown(self) -> float | None:
        """The last part's median latency over the first part's; None for a run shorter than `SUSTAINED_S` seconds."""
        if self.latency.runs["seconds"] < SUSTAINED_S:
            return None
        windows = self.over_time()
        return windows[-1]["p50_ms"] / windows[0]["p50_ms"]

    def energy(self) -> Energy | None:
        """Return what the power sensor read during the run, None without a sensor."""
        read = [power for item in self.latency.observed if (power := item.get("power_w")) is not None]
        if not read:
            return None
        mean = sum(read) / len(read)
        return Energy(mean, len(read), mean * self.latency.runs["seconds"] / self.latency.runs["runs"])

    def to_dict(self) -> dict[str, object]:
        """Return everything, as JSON holds it."""
        fields = {**self.measurement.to_dict(), "threads": self.measurement.kernel_profile.threads}
        fields["invalid"] = [dict(item) for item in self.invalid]
        energy = self.energy()
        fields["energy"] = None if energy is None else dict(vars(energy))
        operators = self.measurement.op_profile
        emulated = self.latency.emulated and operators is not None
        fields["op_profile"] = {**(operators or {}), "latency_note": NOT_A_MEASUREMENT} if emulated else operators
        if self.slowdown is not None:
            fields["over_time"] = self.over_time()
            fields["slowdown"] = self.slowdown
            fields["observed"] = [dict(item) for item in self.latency.observed]
        if self.latency.comparison is not None:
            fields["comparison"] = self.latency.comparison.to_dict()
        return fields


def _threads(run: BenchRun) -> str:
    count = run.measurement.kernel_profile.threads
    return f"{count}_thread{'s' if count > 1 else ''}"


@dataclass(frozen=True, eq=False, repr=False)
class BenchReport(Shown):
    """What `Device.bench` found.

    Attributes:
        runs: One timing for each number of threads, in the order in which they were asked for; at least one.
        choice: How the number of threads was chosen; None where it was given.
        facts: The file's "sha256", "size_bytes" and "arena_bytes" (planned from the file; None where it cannot be),
            and "against": the other file's, where there was one.

    Example:
        >>> report = device.bench(model, threads=[1, 4])
        >>> report.runs[0].latency.figures["p50"]
    """

    runs: tuple[BenchRun, ...]
    facts: FileFacts
    choice: ThreadChoice | None = None

    def shown(self) -> Mapping[str, object]:
        """Return what a prompt or a notebook shows."""
        first = self.runs[0]
        compared = first.latency.comparison
        return {
            "verdict": self.verdict,
            "device": self.device,
            **{_threads(run): f"p50 {run.latency.figures['p50']:.4g} ms" for run in self.runs},
            "runtime": str(first.measurement.kernel_profile),
            "ratio": None if compared is None else compared.ratio,
        }

    @property
    def verdict(self) -> str:
        """ "ok", or "invalid" when a run does not count."""
        return "invalid" if any(run.invalid for run in self.runs) else "ok"

    @property
    def device(self) -> str:
        """How the device is called."""
        return self.runs[0].measurement.device

    @property
    def emulated(self) -> bool:
        """Whether the board is emulated."""
        return any(run.latency.emulated for run in self.runs)

    def raise_for_invalid(self) -> None:
        """Raise when a run does not count: the board throttled, was busy, or is emulated.

        Raises:
            InvalidRunError: The reasons.
        """
        reasons = {f"{item['reason']} ({item['detail']})" for run in self.runs for item in run.latency.unmeasured}
        if reasons:
            text = "; ".join(sorted(reasons))
            raise InvalidRunError(f"The run on {self.device} does not count: {text}; let the board cool and idle.")

    def fields(self) -> dict[str, object]:
        """Return everything but the envelope, as JSON holds it."""
        found = {"device": self.device, **self.facts, "runs": [run.to_dict() for run in self.runs]}
        found["emulated"] = self.emulated
        if self.choice is not None:
            found["threads_auto"] = self.choice.to_dict()
        return {**found, "latency_note": NOT_A_MEASUREMENT} if self.emulated else found

    def to_dict(self) -> dict[str, object]:
        """Return the result in the JSON envelope of all verbs."""
        return envelope("bench", self.verdict, self.fields())


def run_bench(
    device: Measures,
    model: bytes,
    inputs: Mapping[str, npt.NDArray[Any]] | None = None,
    *,
    threads: Sequence[int] = (1,),
    options: RunOptions | None = None,
    against: bytes | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> BenchReport:
    """Time a model on a device; see `Device.bench`."""
    if not threads or len(set(threads)) < len(threads):
        raise UsageError(f"threads is {list(threads)}; expected different numbers, at least one.")
    chosen = options or RunOptions()
    if chosen.bench is None:
        raise UsageError("The options ask for no timing; give a BenchPlan.")
    runs = []
    for count in threads:
        given = replace(chosen, threads=count)
        measured = device.measure(model, inputs, given, against=against, evaluate=False, on_progress=on_progress)
        latency = measured.timed()
        runs.append(BenchRun(measured, tuple(invalid_reasons(latency.conditions, latency.observed))))
    return BenchReport(tuple(runs), _facts(model, against))


def bench_best_threads(
    device: Device,
    model: bytes,
    inputs: Mapping[str, npt.NDArray[Any]] | None = None,
    options: RunOptions | None = None,
    against: bytes | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> BenchReport:
    """Find the best number of threads, and time a model with it; see `Device.bench`."""
    chosen = options or RunOptions()
    cores = device.info()["board"].get("cores")
    if not isinstance(cores, int) or not 1 <= cores <= MOST_THREADS:
        raise DeviceError(f"{device.label} has {cores!r} cores by its own account; give numbers of threads instead.")
    choice = best_threads(device, model, inputs, chosen, cores, on_progress)
    report = run_bench(
        device, model, inputs, threads=[choice.chosen], options=chosen, against=against, on_progress=on_progress
    )
    return replace(report, choice=choice)


def _facts(model: bytes, against: bytes | None) -> FileFacts:
    facts: FileFacts = {"sha256": hashlib.sha256(model).hexdigest(), "size_bytes": len(model)}
    facts["arena_bytes"] = None if is_onnx(model) else memory_use(read_model(model)).arena_bytes
    if against is not None:
        facts["against"] = {"sha256": hashlib.sha256(against).hexdigest(), "size_bytes": len(against)}
    return facts
