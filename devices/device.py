"""A device that runs .tflite files: takes artifacts and arrays, gives measurements."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..artifact.scratch import scratch_folder
from ..errors import DeviceError
from ..evaluation.budget import Budget
from ..evaluation.metrics import load_metric
from ..evaluation.report import Answers, ValidationReport, build_report
from ..flatbuffer import read_model
from ..flatbuffer.specs import TensorSpec, input_specs
from ..onnxfile import is_onnx, read_onnx
from .agent.npy import NotAnArray, map_npy
from .agent.protocol import Message
from .agent.records import Evaluated, Info
from .agent.runtimes import ONNX
from .boards.inventory import LOCAL, Inventory
from .boards.profile import Profile, load_profile
from .measurement import Evaluation, Latency, Measurement
from .pack import pack_agent
from .pieces import bind, in_pieces, joined, pieces, write
from .plans import RunOptions
from .replies import board_info, check_outputs, check_pieces, evaluation, told_of, understood
from .runner import Job, Progress, Timeouts
from .transport.base import LocalTransport, Transport

if TYPE_CHECKING:
    from .bench import BenchReport
    from .parity import Limits, ParityReport
    from .pipeline import PipelinePart, PipelineReport


class Device(AbstractContextManager["Device"]):
    """A device that runs .tflite files.

    Example:
        >>> with Device.local() as device:
        ...     found = device.measure(Path("model.tflite").read_bytes(), {"input": samples})
        >>> found.latency.figures["p50"], found.evaluation.outputs[0].real()
    """

    def __init__(
        self, transport: Transport, profile: Profile, *, timeouts: Timeouts | None = None, label: str | None = None
    ) -> None:
        """Use the device behind `transport`, called `label` in results; nothing is sent yet."""
        self.transport = transport
        self.label = label or transport.name
        self.profile = profile
        self.timeouts = timeouts or Timeouts()

    @classmethod
    def local(cls) -> Device:
        """Return this machine as a device.

        Raises:
            DeviceError: The work folder cannot be made.
        """
        return cls(LocalTransport(), load_profile("local"))

    @classmethod
    def from_inventory(cls, name: str, inventory: str | os.PathLike[str] | None = None) -> Device:
        """Return a board of the inventory, or this machine for "local"; nothing is sent yet.

        Args:
            name: The board's name, or "local" for this machine.
            inventory: The inventory's file; None looks for the project's and the user's.

        Raises:
            UsageError: There is none of that name; `FileFormatError` for a file that is not an inventory.

        Example:
            >>> with Device.from_inventory("kitchen") as device:
            ...     device.info()["board"]["model"]
            'Raspberry Pi 4 Model B Rev 1.4'
        """
        if name == LOCAL:
            return cls.local()
        board = Inventory.find(inventory).board(name)
        profile = load_profile(board.profile)
        install = profile.install_runtime.replace("NAME", shlex.quote(name))
        return cls(board.transport(), replace(profile, install_runtime=install), label=name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.transport.close()

    def info(self, delegate: str | None = None) -> Info:
        """Ask the device what it is.

        Args:
            delegate: Also try to load it with each runtime; as in `RunOptions`.

        Returns:
            ``board``, ``state``, ``runtimes`` (name, version, NumPy, problem), ``edge_tpu``, ``disk_free_bytes`` and
            ``time_s`` (its clock, seconds since 1970).

        Raises:
            DeviceError: It cannot be reached.
        """
        fields = {"delegate": delegate}
        with (
            understood(self.label),
            scratch_folder("device") as folder,
            self.job("info", fields, folder, None) as job,
        ):
            return board_info(job.result())

    def measure(
        self,
        model: bytes,
        inputs: Mapping[str, npt.NDArray[Any]] | None = None,
        options: RunOptions | None = None,
        *,
        against: bytes | None = None,
        evaluate: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Measurement:
        """Time a model, run samples through it, or both, in one interpreter set-up; the timing comes first.

        Args:
            model: The bytes of a .tflite or an .onnx file.
            inputs: Input name (of the signature, or of the tensor) to real values, shape ``(n, ...)``; quantised
                with the file's own scale and zero point before it is sent. None: only time it, on noise.
            options: How the model is run; None takes the defaults of `RunOptions`.
            against: Another .tflite file, to be timed in turns with `model`; see `Latency.comparison`.
            evaluate: Whether to bring the outputs of the samples back; without, the first is what is timed.
            on_progress: Called with every sign of life of the device.

        Raises:
            DataError: Wrong names, shapes, or values that are not finite.
            FileFormatError: `model` is corrupt.
            ModelError: The runtime cannot run it; `InvokeError` when it fails in the middle.
            DeviceError: The device failed; `DeviceLostError`, `RuntimeMissingError`.
        """
        chosen = (options or RunOptions()).for_format(onnx=is_onnx(model))
        specs = _input_specs(model)
        bound = None if inputs is None else bind(specs, inputs)
        with scratch_folder("device") as folder:
            parts = pieces(bound)
            fields = self._fields(model, next(parts), chosen, folder)
            fields["evaluate"] = bound is not None and evaluate
            if against is not None:
                _input_specs(against)
                chosen.for_format(onnx=is_onnx(against))
                fields["against"] = self.put(_written(folder / "against.tflite", against))
                fields["against_sha256"] = hashlib.sha256(against).hexdigest()
            with self.job("measure", fields, folder, on_progress) as job:
                result = job.result()
                with understood(self.label):
                    told = told_of(result, timed=chosen.bench is not None)
                    found = [self._fetch(result, folder)] if fields["evaluate"] else []
            if found and bound is not None and in_pieces(bound):
                self._forget(fields["inputs"])
                again = replace(chosen, runtime=told.profile.runtime, bench=None, op_profile=False)
                found += [self._evaluated(model, part, again, folder, on_progress) for part in parts]
            with understood(self.label):
                check_pieces(found)
            evaluated = Evaluation.from_reply(*joined(*zip(*found, strict=True))) if found else None
        latency = None if told.timing is None else Latency.from_reply(told.timing)
        return Measurement(
            self.label, told.profile, latency, evaluated, told.skipped, told.machine, told.edge_tpu, told.op_profile
        )

    def bench(
        self,
        model: bytes,
        inputs: Mapping[str, npt.NDArray[Any]] | None = None,
        *,
        threads: Sequence[int] | None = (1,),
        options: RunOptions | None = None,
        against: bytes | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> BenchReport:
        """Time a model, with one or more numbers of threads.

        Args:
            model: The bytes of a .tflite file.
            inputs: As in `measure`; the first sample is what is timed. None: noise.
            threads: Numbers of threads of one inference; there is one timing for each (default: 1 thread).
                None: the best number, which is found by timing numbers in turns.
            options: How the model is run; None takes the defaults of `RunOptions`. Its `threads` are not looked at.
            against: Another .tflite file, to be timed in turns with `model`.
            on_progress: Called with every sign of life of the device.

        Raises:
            EdgeoptError: As in `measure`; `UsageError` for threads that are none.
        """
        from .bench import bench_best_threads, run_bench

        if threads is None:
            return bench_best_threads(self, model, inputs, options, against, on_progress)
        return run_bench(
            self, model, inputs, threads=threads, options=options, against=against, on_progress=on_progress
        )

    def pipeline(
        self,
        parts: Sequence[PipelinePart],
        inputs: Mapping[str, npt.NDArray[Any]] | None = None,
        *,
        against: PipelinePart | None = None,
        queue: int | None = None,
        options: RunOptions | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> PipelineReport:
        """Run parts of a model side by side, each in a process of its own, and time them.

        Args:
            parts: The parts, in their order, at least two; a tensor goes by its name to the parts that read it.
            inputs: As in `measure`; all samples are compared, and run in turn. None: noise.
            against: The whole model, which is timed in turns with the pipeline, and whose results are compared.
            queue: Slots between two parts, at least 1 (default 2: one is worked on, one waits).
            options: Its runtime, kernels, plan and `keep` are those of all; the rest is not looked at.
            on_progress: Called with every sign of life of the device.

        Raises:
            EdgeoptError: As in `measure`; a part that fails or dies is named.
        """
        from .pipeline import run_pipeline

        return run_pipeline(self, parts, inputs, against=against, queue=queue, options=options, on_progress=on_progress)

    def parity(
        self,
        other: Device,
        model: bytes,
        inputs: Mapping[str, npt.NDArray[Any]],
        *,
        limits: Limits | None = None,
        options: RunOptions | None = None,
        trace: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> ParityReport:
        """Run samples here and on another device, and compare the outputs as the file stores them.

        Args:
            other: The other device; it runs the runtime that was found here.
            model: The bytes of a .tflite file.
            inputs: Input name to real values, as `measure` takes them.
            limits: What is asserted; default: L1, equal bits under the reference kernels.
            options: How the model is run; None takes the defaults of `RunOptions`. Its `bench` is not looked at.
            trace: Whether to look for the first operator that differs.
            on_progress: Called with every sign of life of a device.

        Raises:
            EdgeoptError: As in `measure`; a difference does not raise, see `ParityReport.raise_for_parity`.
        """
        from .parity import run_parity

        return run_parity(
            self, other, model, inputs, limits=limits, options=options, trace=trace, on_progress=on_progress
        )

    def validate(
        self,
        model: bytes,
        inputs: Mapping[str, npt.NDArray[Any]],
        labels: npt.NDArray[Any] | None,
        *,
        metric: str | Callable[[Any, Any], float] = "accuracy",
        budget: Budget | None = None,
        options: RunOptions | None = None,
        seed: int = 0,
    ) -> ValidationReport:
        """Measure accuracy and latency, and judge a budget, from arrays alone; see `edgeopt.validate` for the rest.

        Args:
            model: The bytes of a .tflite file.
            inputs: Input name to real values, as `measure` takes them.
            labels: Shape ``(n, ...)``; None for a metric that needs none.
            metric: As in `edgeopt.evaluation.metrics.load_metric`.
            budget: Limits; a drop cannot be judged here, since there is no baseline.
            options: How the model is run; None takes the defaults of `RunOptions`.
            seed: Seeds the bootstrap intervals (default 0).

        Raises:
            EdgeoptError: As in `measure`; `DataError` for labels that do not fit, `UsageError` for a budget that
                cannot be judged.
        """
        limits, scoring = budget or Budget(), load_metric(metric)
        limits.require_measurable(has_baseline=False, higher_is_better=scoring.higher_is_better, metric=scoring.name)
        measured = self.measure(model, inputs, options)
        outputs = measured.real_outputs()
        answers = Answers(labels, outputs if len(outputs) > 1 else next(iter(outputs.values())))
        facts = {"sha256": hashlib.sha256(model).hexdigest(), "size_bytes": len(model), "seed": seed}
        record, warnings = measured.to_dict(), measured.warnings
        return build_report(scoring, answers, record, facts, budget=limits, warnings=warnings, seed=seed)

    def _fields(
        self, model: bytes, bound: Mapping[TensorSpec, npt.NDArray[Any]] | None, options: RunOptions, folder: Path
    ) -> dict[str, Any]:
        """Ship the model and the data, and return the fields of the request."""
        fields: dict[str, Any] = {
            "model": self.put(_written(folder / "model.tflite", model)),
            "model_sha256": hashlib.sha256(model).hexdigest(),
            "runtime": options.runtime,
            "threads": options.threads,
            "against_threads": options.against_threads,
            "kernels": options.kernels,
            "delegate": options.delegate,
            "minimum_runtime": options.minimum_runtime,
            "keep": options.keep,
            "op_profile": options.op_profile,
            "bench": None if options.bench is None else asdict(options.bench),
            "evaluate": bound is not None,
        }
        if bound is not None:
            fields["inputs"], fields["stored"] = {}, {}
            for spec, samples in bound.items():
                key, path = f"#{spec.index}", folder / f"input-{spec.index}.npy"
                quantised = write(path, samples, spec)
                if quantised is not None:
                    fields["stored"][key] = quantised
                fields["inputs"][key] = self.put(path)
        return fields

    def _evaluated(
        self,
        model: bytes,
        part: Mapping[TensorSpec, npt.NDArray[Any]] | None,
        options: RunOptions,
        folder: Path,
        on_progress: Callable[[Progress], None] | None,
    ) -> tuple[Evaluated, list[npt.NDArray[Any]]]:
        """Run one more piece of the samples, and forget the one before."""
        fields = {**self._fields(model, part, options, folder), "evaluate": True}
        with self.job("measure", fields, folder, on_progress) as job, understood(self.label):
            found = self._fetch(job.result(), folder)
        self._forget(fields["inputs"])
        return found

    def _forget(self, inputs: Mapping[str, str]) -> None:
        """Remove the samples of a piece from the device; where it is this machine, the next piece takes their place."""
        for path in inputs.values():
            if PurePosixPath(self.transport.workdir) in PurePosixPath(path).parents:
                self.transport.remove(path, timeout_s=self.timeouts.transfer_s)

    def put(self, source: Path) -> str:
        """Ship a file, and return its path on the device."""
        return self.transport.put(source, timeout_s=self.timeouts.transfer_s)

    def job(
        self, operation: str, fields: Mapping[str, object], folder: Path, on_progress: Callable[[Progress], None] | None
    ) -> Job:
        """Return a job of the agent, to be entered; the agent is packed in `folder`, a scratch folder here."""
        return Job(
            self.transport,
            self.put(_written(folder / "edgeopt-agent.pyz", pack_agent())),
            operation,
            fields,
            timeouts=self.timeouts,
            on_progress=on_progress,
            runtime_remedy=self._remedy(fields.get("runtime")),
        )

    def _remedy(self, runtime: object) -> str:
        """Say how a runtime is installed there."""
        if runtime != ONNX:
            return self.profile.install_runtime
        if self.label == LOCAL:
            return "pip install 'edgeopt[onnx]'"
        return f"run `edgeopt devices setup {shlex.quote(self.label)} --runtime onnxruntime`"

    def _fetch(self, result: Message, folder: Path) -> tuple[Evaluated, list[npt.NDArray[Any]]]:
        raw, stored = evaluation(result), []
        for position, item in enumerate(raw["outputs"]):
            target = folder / f"fetched-{position}.npy"
            self.transport.get(item["path"], target, timeout_s=self.timeouts.transfer_s)
            try:
                stored.append(np.array(map_npy(target)))
            except NotAnArray as error:
                raise DeviceError(f"An output of {self.label} is no .npy file ({error}); run it again.") from error
        check_outputs(raw["outputs"], stored, raw["samples"])
        return raw, stored


def _input_specs(model: bytes) -> tuple[TensorSpec, ...]:
    return read_onnx(model).inputs if is_onnx(model) else input_specs(read_model(model))


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
