"""What comes back from a device: latencies, outputs, and the conditions under which they came about."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..artifact.shown import Shown
from .agent import records
from .agent.arith import dequantize, percentile, real_range
from .agent.batching import REASONS
from .agent.stats import clock_step, latency_figures, median_interval, process_interval, why_no_interval
from .validity import unmeasured_reasons

# Inputs that reach beyond what the file can store by more than this share of its range are most likely not scaled as
# in training; so are inputs that use less than that share.
OUT_OF_RANGE = 0.1
NOT_A_MEASUREMENT = "not a measurement: the board is emulated"
HARDLY_USED = 0.02


@dataclass(frozen=True)
class KernelProfile:
    """Which kernels ran: without it, neither a latency nor an integer means anything.

    Attributes:
        runtime: "ai_edge_litert" or "tflite_runtime".
        version: The version of the runtime.
        delegate: "xnnpack" when a part of the graph was given to it, "none" otherwise.
        threads: Number of threads of one inference, at least 1.
        kernels: "default", "builtin" (no XNNPACK) or "reference".
    """

    runtime: str
    version: str
    delegate: str
    threads: int
    kernels: str = "default"

    def to_dict(self) -> dict[str, object]:
        """Return the fields."""
        return dict(vars(self))

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        kernels = "" if self.kernels == "default" else f", {self.kernels} kernels"
        return f"{self.runtime} {self.version}, delegate {self.delegate}, {threads}{kernels}"


@dataclass(frozen=True)
class Comparison:
    """Two files that were timed in turns, in blocks A B B A A B B A ..., both in one process, and in several of them.

    Attributes:
        ratio: Median over the pairs of blocks of time A / time B: below 1, the first is faster.
        ratio_ci95: From the smallest to the largest of the processes' own ratios (see `agent.stats.process_interval`);
            of a single process, `agent.stats.median_interval` over the pairs, which knows of this process alone. None
            where there are too few of either, as `no_interval` says.
        processes: Number of processes that the blocks were spread over.
        first_ms: Median time of an inference over A's blocks, in milliseconds.
        second_ms: Median time of an inference over B's blocks, in milliseconds.
        pairs: Number of pairs of blocks, at least 1.
    """

    ratio: float
    ratio_ci95: tuple[float, float] | None
    first_ms: float
    second_ms: float
    pairs: int
    processes: int = 1

    @classmethod
    def from_reply(cls, raw: records.Turns) -> Comparison:
        """Return what the ``comparison`` of an agent's reply says."""
        first, second = np.array(raw["first_ns"], np.float64), np.array(raw["second_ns"], np.float64)
        ratios, each = first / second, raw.get("process_ratios", [])
        ratio = percentile(ratios, 50)
        step = ratio * sum(clock_step(times) / percentile(times, 50) for times in (first, second))
        return cls(
            ratio=ratio,
            ratio_ci95=process_interval(each, step) if len(each) > 1 else median_interval(ratios, step),
            first_ms=percentile(first, 50) / 1e6,
            second_ms=percentile(second, 50) / 1e6,
            pairs=len(ratios),
            processes=max(1, len(each)),
        )

    @property
    def no_interval(self) -> str | None:
        """Why there is no interval, in words; None if there is one."""
        return why_no_interval(self.processes, self.pairs)

    @property
    def verdict(self) -> str:
        """``faster``, ``slower`` or ``no difference shown``, of the first file, at 95 % confidence."""
        low, high = self.ratio_ci95 or (0.0, math.inf)
        return "faster" if high < 1 else "slower" if low > 1 else "no difference shown"

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as JSON holds them."""
        interval = None if self.ratio_ci95 is None else list(self.ratio_ci95)
        return {**vars(self), "ratio_ci95": interval, "no_interval": self.no_interval, "verdict": self.verdict}


@dataclass(frozen=True, eq=False)
class Latency:
    """One timing at the model's own batch.

    Attributes:
        samples_ms: Every timed run in order, float64 ``(runs,)``: the invocation alone, without copying data.
        figures: "p50", "p90", "p95", "p99", "mean", "min", "max", "mad", "p50_ci95", "p95_worst", and the
            cold start: "load", "first" and their sum "cold"; all in milliseconds.
        runs: "runs", "warmup_runs", "seconds", "stable", "stopped_by", "process_p50_ms", "no_interval".
        conditions: "board", and its state "before" and "after"; "peak_rss_bytes".
        observed: The state in the middle of it, every ``observe_seconds``.
        comparison: How it compares with another file that was timed in turns with it, None without one.
    """

    samples_ms: npt.NDArray[np.float64] = field(repr=False)
    figures: records.Figures
    runs: records.Runs
    conditions: records.Conditions
    observed: tuple[records.Observation, ...] = ()
    comparison: Comparison | None = None

    @classmethod
    def from_reply(cls, raw: records.Timing) -> Latency:
        """Return what the ``latency`` of an agent's reply says."""
        found = latency_figures(raw)
        samples_ms = np.array(raw["samples_ns"], np.float64) / 1e6
        compared = Comparison.from_reply(raw["comparison"]) if "comparison" in raw else None
        figures, runs, conditions = found["latency_ms"], found["latency_runs"], raw["conditions"]
        return cls(samples_ms, figures, runs, conditions, tuple(raw.get("observed", ())), compared)

    @property
    def emulated(self) -> bool:
        """Whether an emulator ran it: then these times say nothing of a board."""
        return bool(self.conditions["board"].get("emulated"))

    @property
    def unmeasured(self) -> tuple[dict[str, str], ...]:
        """Why these times neither keep nor miss a limit: "reason" and "detail" of each; empty if they count."""
        return tuple(unmeasured_reasons(self.conditions, self.observed))


@dataclass(frozen=True, eq=False)
class Output:
    """One output of all samples, as the file stores it.

    Attributes:
        name: The name in the file's signature.
        stored: The values of all samples, shape ``(n, ...)``, of the type that the file stores.
        scale: The real value of one step, above 0; None when the output is not quantised.
        zero_point: The stored value that stands for 0; 0 when the output is not quantised.
    """

    name: str
    stored: npt.NDArray[Any] = field(repr=False)
    scale: float | None
    zero_point: int

    def real(self) -> npt.NDArray[Any]:
        """Return the real values, by the same arithmetic as the device's."""
        return self.stored if self.scale is None else dequantize(self.stored, self.scale, self.zero_point)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The outputs of all samples, and the way that they went through.

    Attributes:
        outputs: Each output of the file, in the file's order.
        samples: Number of samples that were run, at least 1.
        batch: Number of samples of one invocation, at least 1.
        workers: Number of interpreters that ran side by side, at least 1.
        reasons: Why not more of both: keys of `edgeopt.devices.agent.batching.REASONS`; empty if nothing held it back.
        seconds: How long the samples took together, in seconds.
        warnings: A sentence on each input whose values look wrongly scaled.
    """

    outputs: tuple[Output, ...]
    samples: int
    batch: int
    workers: int
    reasons: tuple[str, ...]
    seconds: float
    warnings: tuple[str, ...]

    @classmethod
    def from_reply(cls, raw: records.Evaluated, stored: list[npt.NDArray[Any]]) -> Evaluation:
        """Return what the ``evaluation`` of an agent's reply says, with the fetched outputs."""
        outputs = tuple(
            Output(item["name"], array, item["scale"], item["zero_point"])
            for item, array in zip(raw["outputs"], stored, strict=True)
        )
        return cls(
            outputs=outputs,
            samples=raw["samples"],
            batch=raw["batch"],
            workers=raw["workers"],
            reasons=tuple(raw["reasons"]),
            seconds=raw["seconds"],
            warnings=tuple(text for item in raw["inputs"] if (text := scaling_warning(item))),
        )

    def by_name(self) -> dict[str, Output]:
        """Return the outputs by name, in the file's order."""
        return {output.name: output for output in self.outputs}

    def to_dict(self) -> dict[str, object]:
        """Return the fields, without the arrays; every reason with its meaning."""
        names = ("samples", "batch", "workers", "seconds")
        reasons = [{"reason": name, "meaning": REASONS[name]} for name in self.reasons]
        return {**{name: getattr(self, name) for name in names}, "reasons": reasons}


@dataclass(frozen=True, eq=False, repr=False)
class Measurement(Shown):
    """All that one job has brought back.

    Attributes:
        device: How messages call the device.
        kernel_profile: Which kernels ran.
        latency: The timing; None when the job was not asked for one.
        evaluation: The outputs; None when the job was given no samples, or was not asked for their outputs.
        runtimes_skipped: The runtimes that were tried before this one: "runtime" and "reason" of each.
        machine: The kind of CPU, as `uname -m` prints it; "" when it is not known.
        edge_tpu: What is known of the Edge TPU that ran it: device, runtime version, USB speed in Mbit/s, and
            temperature in degrees Celsius; None where none did.
        op_profile: "runs" and "operators" ("op", "by", "index", "ms", "share" of each), or "problem"; None when it was
            not asked for.
    """

    device: str
    kernel_profile: KernelProfile
    latency: Latency | None
    evaluation: Evaluation | None
    runtimes_skipped: tuple[records.Skipped, ...]
    machine: str = ""
    edge_tpu: records.EdgeTpuFacts | None = None
    op_profile: records.OpProfile | None = None

    def shown(self) -> dict[str, object]:
        """Return where it ran, with which kernels, the median, and of how many samples there are outputs."""
        return {
            "device": self.device,
            "kernels": self.kernel_profile,
            "p50_ms": None if self.latency is None else self.latency.figures["p50"],
            "samples": None if self.evaluation is None else self.evaluation.samples,
        }

    def timed(self) -> Latency:
        """Return the timing of a job that was asked for one.

        Raises:
            RuntimeError: It was not.
        """
        if self.latency is None:
            raise RuntimeError("the device was asked for no timing")
        return self.latency

    def evaluated(self) -> Evaluation:
        """Return the outputs of a job that was given samples.

        Raises:
            RuntimeError: It was given none.
        """
        if self.evaluation is None:
            raise RuntimeError("the device was given no samples to run")
        return self.evaluation

    def real_outputs(self) -> dict[str, npt.NDArray[Any]]:
        """Return the real values of each output, shape ``(n, ...)``, by name; raises as `evaluated` does."""
        return {output.name: output.real() for output in self.evaluated().outputs}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes these numbers less than they seem: inputs that look wrongly scaled, an unstable median."""
        found = list(self.evaluation.warnings) if self.evaluation is not None else []
        if self.latency is not None and not self.latency.runs["stable"]:
            found.append(
                "The median latency was not stable over the runs; other work on the device may have slowed it."
            )
        if self.latency is not None and self.latency.emulated:
            found.append("The board is emulated: its latencies are not a measurement.")
        found += self.flaws
        found += [f"{item['runtime']} was left out: {item['reason']}." for item in self.runtimes_skipped]
        return tuple(found)

    @property
    def flaws(self) -> tuple[str, ...]:
        """Why the timing does not count, but for an emulated board: a sentence each."""
        found = () if self.latency is None else self.latency.unmeasured
        told = [f"{item['reason']}: {item['detail']}" for item in found if item["reason"] != "emulated"]
        return tuple(f"The timing does not count: {text}." for text in told)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the output arrays, as JSON holds it; the raw samples are there."""
        fields: dict[str, object] = {"device": self.device, "kernel_profile": self.kernel_profile.to_dict()}
        fields["runtimes_skipped"] = list(self.runtimes_skipped)
        if self.edge_tpu is not None:
            fields["edge_tpu"] = self.edge_tpu
        if self.latency is not None:
            fields["latency_ms"], fields["latency_runs"] = self.latency.figures, self.latency.runs
            fields["samples_ms"] = self.latency.samples_ms.tolist()
            fields["conditions"] = self.latency.conditions
            fields["emulated"] = self.latency.emulated
            fields["unmeasured"] = list(self.latency.unmeasured)
            if self.latency.emulated:
                fields["latency_note"] = NOT_A_MEASUREMENT
        if self.evaluation is not None:
            fields["evaluation"] = self.evaluation.to_dict()
        return fields


def scaling_warning(item: records.TensorFacts) -> str | None:
    """Return a sentence when the values of an input hardly fit the range that the file stores, else None.

    Args:
        item: "name", "dtype", "scale", "zero_point", and the extent "low", "high" of the values that were fed.
    """
    if item["scale"] is None:
        return None
    low, high = real_range(item["scale"], item["zero_point"], item["dtype"])
    span = high - low
    seen = f"The data of input {item['name']!r} lie in [{item['low']:g}, {item['high']:g}]"
    if max(low - item["low"], item["high"] - high) > OUT_OF_RANGE * span:
        return f"{seen}, beyond the [{low:g}, {high:g}] that the file can store; scale them as in training."
    if 0 < item["high"] - item["low"] < HARDLY_USED * span:
        return f"{seen}, a small part of the [{low:g}, {high:g}] that the file can store; scale them as in training."
    return None
