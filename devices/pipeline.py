"""Parts of a model that run side by side on a device, sample after sample, against the whole model there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from ..artifact.envelope import envelope
from ..artifact.scratch import scratch_folder
from ..artifact.shown import Shown
from ..errors import CheckError, InvalidRunError, UsageError
from ..flatbuffer import read_model
from ..flatbuffer.specs import TensorSpec, input_specs
from .agent.arith import percentile
from .agent.protocol import MOST_QUEUED, MOST_SEGMENTS
from .agent.records import Conditions, PartFacts, Pipelined, Skipped
from .agent.stats import clock_step, process_interval, why_no_interval
from .measurement import NOT_A_MEASUREMENT, Comparison
from .pieces import bind, write
from .plans import BenchPlan, RunOptions
from .replies import pipelined, skipped, understood
from .runner import Progress
from .validity import invalid_reasons

if TYPE_CHECKING:
    from .device import Device


@dataclass(frozen=True)
class PipelinePart:
    """A file to run, and how.

    Attributes:
        name: How messages call it.
        model: The bytes of a .tflite file.
        threads: Number of threads of one inference, at least 1.
        delegate: "edgetpu", a device as pycoral names it (":0", "usb:1"), a library on the device, or None.
        minimum_runtime: As in `RunOptions`.
    """

    name: str
    model: bytes = field(repr=False)
    threads: int = 1
    delegate: str | None = None
    minimum_runtime: int | None = None


@dataclass(frozen=True)
class Way:
    """How long a sample took in one way of running.

    Attributes:
        ms: Median over all blocks of runs, in milliseconds a sample.
        ms_ci95: 95 % interval over the processes; None where there are too few of them.
    """

    ms: float
    ms_ci95: tuple[float, float] | None

    @property
    def per_second(self) -> float:
        """Samples a second."""
        return 1e3 / self.ms

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as JSON holds them."""
        interval = None if self.ms_ci95 is None else list(self.ms_ci95)
        return {"ms": self.ms, "ms_ci95": interval, "per_second": self.per_second}


@dataclass(frozen=True, eq=False, repr=False)
class PipelineReport(Shown):
    """What `Device.pipeline` found.

    Attributes:
        device: How the device is called.
        raw: What the device told, with the times of every block.
        facts: "sha256" and "size_bytes" of each part, by name, and of the whole.
        skipped: The runtimes that were tried before the one that ran.
        machine: The kind of CPU.
    """

    device: str
    raw: Pipelined
    facts: Mapping[str, Mapping[str, object]]
    skipped: tuple[Skipped, ...] = ()
    machine: str = ""

    def shown(self) -> Mapping[str, object]:
        """Return what a prompt or a notebook shows."""
        throughput = self.throughput
        return {
            "verdict": self.verdict,
            "device": self.device,
            "per_second": f"{self.stream.per_second:.4g}",
            "latency": f"{self.single.ms:.4g} ms",
            "time a sample, against the whole": None if throughput is None else throughput.ratio,
        }

    @property
    def parts(self) -> list[PartFacts]:
        """What is known of each part: kernel profile, times of loading and of its median invocation."""
        return self.raw["parts"]

    @property
    def stream(self) -> Way:
        """The time from result to result while the pipeline is full."""
        return self._way("stream_ns")

    @property
    def single(self) -> Way:
        """The time from a sample's start to its result, with no other on its way."""
        return self._way("single_ns")

    @property
    def whole(self) -> Way | None:
        """The time of the whole model, None without one."""
        return self._way("whole_ns") if "whole_ns" in self.raw else None

    @property
    def throughput(self) -> Comparison | None:
        """The full pipeline's time a sample over the whole's, in turns: below 1, it has the more throughput."""
        return self._against_whole("stream_ns")

    @property
    def latency(self) -> Comparison | None:
        """A single sample's time over the whole's, in turns."""
        return self._against_whole("single_ns")

    @property
    def different(self) -> int | None:
        """In how many samples an output differs from the whole's in any bit; None without a whole."""
        found = self.raw["differences"]
        return None if found is None else max((item["samples"] for item in found), default=0)

    @property
    def slowest(self) -> PartFacts:
        """The part that takes longest: no pipeline of these parts is faster than it."""
        return max(self.parts, key=lambda part: part["run_ns"])

    @property
    def threads(self) -> int:
        """The threads of all parts together."""
        return sum(_threads(part) for part in self.parts)

    @property
    def cores(self) -> int | None:
        """The device's cores, None where they are not known."""
        found = self.conditions["board"].get("cores")
        return found if isinstance(found, int) else None

    @property
    def conditions(self) -> Conditions:
        """The board, and its state before and after."""
        return self.raw["conditions"]

    @property
    def emulated(self) -> bool:
        """Whether an emulator ran it."""
        return bool(self.conditions["board"].get("emulated"))

    @property
    def invalid(self) -> tuple[dict[str, str], ...]:
        """Why the times do not count: "reason" and "detail" of each."""
        return tuple(invalid_reasons(self.conditions, ()))

    @property
    def verdict(self) -> str:
        """ "ok"; "different" when a result is not the whole's; "invalid" when the times do not count."""
        return "different" if self.different else "invalid" if self.invalid else "ok"

    def raise_for_difference(self) -> None:
        """Raise unless all results are equal to the whole's, bit for bit.

        Raises:
            CheckError: They are not.
        """
        if self.different:
            of = self.raw["samples"]
            raise CheckError(
                f"The pipeline's results differ from the whole's in {self.different} of {of} samples; "
                "are these the whole's own parts, run by the same kernels?"
            )

    def raise_for_invalid(self) -> None:
        """Raise when the times do not count.

        Raises:
            InvalidRunError: The reasons.
        """
        if self.invalid:
            text = "; ".join(f"{item['reason']} ({item['detail']})" for item in self.invalid)
            raise InvalidRunError(f"The run on {self.device} does not count: {text}; let the board cool and idle.")

    def fields(self) -> dict[str, object]:
        """Return everything but the envelope, as JSON holds it."""
        told = [{**self.facts[part["name"]], **part, "run_ms": part["run_ns"] / 1e6} for part in self.parts]
        whole, raw = self.raw.get("whole"), self.raw
        blocks = {name: raw.get(name) for name in ("stream_ns", "single_ns", "whole_ns")}
        compared = {name: None if found is None else found.to_dict() for name, found in
                    (("throughput", self.throughput), ("latency", self.latency))}  # fmt: skip
        found: dict[str, object] = {
            "device": self.device,
            "pipeline": told,
            "whole": None
            if whole is None
            else {**self.facts["whole"], **whole, **(self.whole or self.single).to_dict()},
            "stream": self.stream.to_dict(),
            "single": self.single.to_dict(),
            **compared,
            **{name: raw[name] for name in ("queue", "link_bytes", "samples", "batch", "differences", "seconds")},
            "different_samples": self.different,
            "threads": self.threads,
            "blocks": blocks,
            "conditions": self.conditions,
            "invalid": list(self.invalid),
            "runtimes_skipped": list(self.skipped),
            "machine": self.machine,
            "emulated": self.emulated,
        }
        return {**found, "latency_note": NOT_A_MEASUREMENT} if self.emulated else found

    def to_dict(self) -> dict[str, object]:
        """Return the result in the JSON envelope of all verbs."""
        return envelope("bench-pipeline", self.verdict, self.fields())

    @property
    def no_interval(self) -> str | None:
        """Why there are no intervals, in words; None if there are."""
        return why_no_interval(len(self.raw["processes"]), len(self.raw["stream_ns"]))

    def _way(self, name: str) -> Way:
        times = np.array(dict(self.raw)[name], np.float64) / 1e6
        medians = [percentile(np.array(dict(part)[name]) / 1e6, 50) for part in self.raw["processes"]]
        interval = process_interval(medians, clock_step(times * 1e6) / 1e6) if len(medians) > 1 else None
        return Way(percentile(times, 50), interval)

    def _against_whole(self, name: str) -> Comparison | None:
        if "whole_ns" not in self.raw:
            return None
        first, second = cast(list[int], dict(self.raw)[name]), self.raw["whole_ns"]
        ratios = [
            percentile(np.array(dict(part)[name]) / np.array(part["whole_ns"]), 50) for part in self.raw["processes"]
        ]
        return Comparison.from_reply({"first_ns": first, "second_ns": second, "process_ratios": ratios})


def _threads(part: PartFacts) -> int:
    found = part["kernel_profile"]["threads"]
    return found if isinstance(found, int) else 1


def run_pipeline(
    device: Device,
    parts: Sequence[PipelinePart],
    inputs: Mapping[str, npt.NDArray[Any]] | None = None,
    *,
    against: PipelinePart | None = None,
    queue: int | None = None,
    options: RunOptions | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> PipelineReport:
    """Time a pipeline on a device; see `Device.pipeline`."""
    _check(parts, queue)
    chosen = options or RunOptions()
    specs = outside_inputs([part.model for part in parts])
    bound = None if inputs is None else bind(specs, inputs)
    with scratch_folder("device") as folder:
        fields: dict[str, Any] = {"runtime": chosen.runtime, "kernels": chosen.kernels, "keep": chosen.keep}
        fields |= {"bench": asdict(chosen.bench or BenchPlan()), "queue": queue}
        fields["segments"] = [_shipped(device, folder, f"part-{at}", part) for at, part in enumerate(parts)]
        if against is not None:
            fields["whole"] = _shipped(device, folder, "whole", replace(against, name="whole"))
        for place, (spec, samples) in enumerate((bound or {}).items()):
            path = folder / f"input-{place}.npy"
            quantised = write(path, samples, spec)
            fields.setdefault("inputs", {})[spec.tensor_name] = device.put(path)
            if quantised is not None:
                fields.setdefault("stored", {})[spec.tensor_name] = quantised
        with device.job("pipeline", fields, folder, on_progress) as job, understood(device.label):
            result = job.result()
            raw, before, machine = pipelined(result, len(parts)), skipped(result), str(result.get("machine", ""))
    facts = {part.name: _facts(part.model) for part in parts}
    if against is not None:
        facts["whole"] = _facts(against.model)
    return PipelineReport(device.label, raw, facts, before, machine)


def _check(parts: Sequence[PipelinePart], queue: int | None) -> None:
    if not 2 <= len(parts) <= MOST_SEGMENTS:
        raise UsageError(f"Received {len(parts)} parts of a pipeline, expected 2 to {MOST_SEGMENTS}, in their order.")
    names = {part.name for part in parts}
    if len(names) < len(parts) or "whole" in names:
        raise UsageError("Two parts of the pipeline have one name, or one is called 'whole'; rename one.")
    if queue is not None and not 1 <= queue <= MOST_QUEUED:
        raise UsageError(f"queue is {queue}; expected 1 to {MOST_QUEUED} slots between two parts.")
    if any(part.threads < 1 for part in parts):
        raise UsageError("threads of a part is below 1; expected at least 1.")


def outside_inputs(models: Sequence[bytes]) -> tuple[TensorSpec, ...]:
    """Return the inputs that no part before writes."""
    found: dict[str, TensorSpec] = {}
    known: set[str] = set()
    for data in models:
        model = read_model(data)
        found |= {spec.tensor_name: spec for spec in input_specs(model) if spec.tensor_name not in known}
        known |= {
            tensor.name for tensor in model.main.tensors if tensor.index in (*model.main.inputs, *model.main.outputs)
        }
    return tuple(found.values())


def _shipped(device: Device, folder: Path, stem: str, part: PipelinePart) -> dict[str, object]:
    read_model(part.model)  # a corrupt file is refused here
    path = folder / f"{stem}.tflite"
    path.write_bytes(part.model)
    fields = {name: getattr(part, name) for name in ("name", "threads", "delegate", "minimum_runtime")}
    return {**fields, "model": device.put(path), "model_sha256": hashlib.sha256(part.model).hexdigest()}


def _facts(model: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(model).hexdigest(), "size_bytes": len(model)}
