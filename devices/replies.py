"""What a device answers, before anyone computes with it: each value is of its declared type, and makes sense there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..artifact.typed import Unfit, fitted, item
from ..errors import DeviceError
from .agent.batching import REASONS
from .agent.records import (
    EdgeTpuFacts,
    Evaluated,
    Info,
    OpProfile,
    Pipelined,
    Skipped,
    TensorFacts,
    Timing,
    Turns,
)
from .measurement import KernelProfile

_TIMED = ("samples_ns", "load_ns", "first_ns", "warmup_runs", "seconds", "stable", "stopped_by", "conditions")
_PIPELINED = ("parts", "queue", "link_bytes", "samples", "batch", "differences", "seconds", "conditions", "processes")
_BOARD = ("model", "kernel", "libc", "emulated", "emulator", "cores", "page_size_bytes")
_STATE = ("governors", "temperature_c", "throttling", "busy", "load_average")
_INPUT = ("name", "scale", "low", "high")
_QUANTIZED = ("dtype", "zero_point")
_OUTPUT = ("name", "scale", "zero_point")
_STORED = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
_LONGEST = 1e30  # nanoseconds, a range or a scale: beyond, sums of them are no numbers any more
_MOST_OUTPUTS = 10_000


@contextmanager
def understood(device: str) -> Iterator[None]:
    """Turn what is wrong with a device's answer into an error that names the device.

    Raises:
        DeviceError: An `Unfit` was raised inside.
    """
    try:
        yield
    except Unfit as error:
        raise DeviceError(
            f"{device} answered with what edgeopt cannot use: {error}; install the same edgeopt release on both sides, "
            "or check the device."
        ) from error


@dataclass(frozen=True)
class Told:
    """What the result of a job says, but for the outputs; the fields are those of `Measurement`, and the raw timing."""

    profile: KernelProfile
    timing: Timing | None
    skipped: tuple[Skipped, ...]
    machine: str
    edge_tpu: EdgeTpuFacts | None
    op_profile: OpProfile | None


def told_of(result: Mapping[str, Any], timed: bool) -> Told:
    """Return what the result of a "measure" job says, with a timing if it was to be `timed`.

    Raises:
        Unfit: Something is missing, or is none.
    """
    profile = item(KernelProfile, result, "kernel_profile")
    machine = fitted(str, result.get("machine", ""), "machine")
    tpu = fitted(EdgeTpuFacts | None, result.get("edge_tpu"), "edge_tpu")
    operators = fitted(OpProfile | None, result.get("op_profile"), "op_profile")
    return Told(profile, timing(result) if timed else None, skipped(result), machine, tpu, operators)


def board_info(result: Mapping[str, Any]) -> Info:
    """Return the result of an "info" job.

    Raises:
        Unfit: Something is missing, or is none.
    """
    found = cast(Info, fitted(Info, result, "info"))
    _require(found["board"], _BOARD, "info.board")
    _require(found["state"], _STATE, "info.state")
    for chip in (*found["edge_tpu"]["usb"], *found["edge_tpu"]["pci"]):
        _require(chip, ("path", "permitted"), "info.edge_tpu")
    return found


def timing(result: Mapping[str, Any]) -> Timing:
    """Return the ``latency`` of a reply's result.

    Raises:
        Unfit: It is missing, or is none.
    """
    found = cast(Timing, item(Timing, result, "latency"))
    _require(found, _TIMED, "latency")
    _positive(found["samples_ns"], "latency.samples_ns")
    rest = [found["load_ns"], found["first_ns"], found["seconds"], found["warmup_runs"]]
    if not all(0 <= value < _LONGEST for value in rest) or found.get("runs", 1) < 1:
        raise Unfit("latency holds times and counts that cannot be")
    for place, part in enumerate(found.get("processes", [])):
        _require(part, ("p50_ns",), f"latency.processes[{place}]")
        _positive([part["p50_ns"], part.get("p95_ns", 1.0)], f"latency.processes[{place}]")
    for when in ("before", "after"):
        _require(dict(found["conditions"])[when], _STATE, f"latency.conditions.{when}")
    if "comparison" in found:
        _compared(found["comparison"])
    return found


def skipped(result: Mapping[str, Any]) -> tuple[Skipped, ...]:
    """Return the runtimes that were tried before the one that ran.

    Raises:
        Unfit: That is missing, or is none.
    """
    return cast(tuple[Skipped, ...], item(tuple[Skipped, ...], result, "runtimes_skipped"))


def pipelined(result: Mapping[str, Any], parts: int) -> Pipelined:
    """Return the ``pipeline`` of a reply's result, of so many parts.

    Raises:
        Unfit: It is missing, or is none.
    """
    found = cast(Pipelined, item(Pipelined, result, "pipeline"))
    _require(found, _PIPELINED, "pipeline")
    whole = [found["whole"]] if "whole" in found else []
    for place, part in enumerate([*found["parts"], *whole]):
        _require(part, ("kernel_profile", "load_ns", "run_ns", *(("name",) if place < parts else ())), "pipeline.parts")
        _positive([part["run_ns"]], "pipeline.parts.run_ns")
        fitted(KernelProfile, part["kernel_profile"], "pipeline.parts.kernel_profile")
    ways = ("stream_ns", "single_ns", *(("whole_ns",) if whole else ()))
    for times in [found, *found["processes"]]:
        _require(times, ways, "pipeline")
        for name in ways:
            _positive(cast(dict[str, list[int]], times)[name], f"pipeline.{name}")
        if len({len(cast(dict[str, list[int]], times)[name]) for name in ways}) > 1:
            raise Unfit("pipeline has turns without a counterpart")
    if len(found["parts"]) != parts or not found["processes"] or (found["differences"] is None) == bool(whole):
        raise Unfit("pipeline is not of the parts that were sent")
    for when in ("before", "after"):
        _require(dict(found["conditions"])[when], _STATE, f"pipeline.conditions.{when}")
    return found


def _compared(turns: Turns) -> None:
    _require(turns, ("first_ns", "second_ns"), "latency.comparison")
    for name, times in (("first_ns", turns["first_ns"]), ("second_ns", turns["second_ns"])):
        _positive(times, f"latency.comparison.{name}")
    _positive(turns.get("process_ratios", []) or [1.0], "latency.comparison.process_ratios")
    if len(turns["first_ns"]) != len(turns["second_ns"]):
        raise Unfit("latency.comparison has turns without a counterpart")


def evaluation(result: Mapping[str, Any]) -> Evaluated:
    """Return the ``evaluation`` of a reply's result.

    Raises:
        Unfit: It is missing, or is none.
    """
    found = cast(Evaluated, item(Evaluated, result, "evaluation"))
    if min(found["samples"], found["batch"], found["workers"]) < 1 or not set(found["reasons"]) <= set(REASONS):
        raise Unfit("evaluation holds counts or reasons that cannot be")
    for place, fed in enumerate(found["inputs"]):
        _tensor(fed, _INPUT if fed.get("scale") is None else (*_INPUT, *_QUANTIZED), f"evaluation.inputs[{place}]")
    for place, output in enumerate(found["outputs"]):
        _require(output, ("path",), f"evaluation.outputs[{place}]")
    return found


def _tensor(tensor: TensorFacts, names: Sequence[str], where: str) -> None:
    _require(tensor, names, where)
    scale = tensor["scale"]
    if scale is not None:
        _positive([scale], f"{where}.scale")
    if not abs(tensor.get("zero_point", 0)) < 1 << 31 or (
        tensor.get("dtype", "int8") not in _STORED and scale is not None
    ):
        raise Unfit(f"{where} is quantised in a way that cannot be")
    if not max(abs(tensor.get("low", 0)), abs(tensor.get("high", 0))) < 1e300:
        raise Unfit(f"{where} was fed values that cannot be")


def check_outputs(told: Sequence[TensorFacts], stored: Sequence[npt.NDArray[Any]], samples: int) -> None:
    """Raise unless arrays, ``(samples, ...)`` each, are the outputs that are told of.

    Raises:
        Unfit: There are none, they hold no numbers, not as many samples, or are not as they are said to be quantised.
    """
    if not 0 < len(told) <= _MOST_OUTPUTS or samples < 1:
        raise Unfit(f"there are {len(told)} outputs of {samples} samples")
    if len({output.get("name") for output in told}) < len(told):
        raise Unfit("there are two outputs of one name")
    for place, (output, array) in enumerate(zip(told, stored, strict=True)):
        _tensor(output, _OUTPUT, f"outputs[{place}]")
        kinds = "biuf" if output["scale"] is None else "iu"
        if array.dtype.kind not in kinds or array.ndim < 1 or len(array) != samples:
            shape = "x".join(map(str, array.shape))
            raise Unfit(f"the output {output['name']!a} is {array.dtype} {shape} for {samples} samples")


def check_pieces(found: Sequence[tuple[Evaluated, Sequence[npt.NDArray[Any]]]]) -> None:
    """Raise unless the evaluations of all pieces of the samples are of the same inputs and outputs.

    Raises:
        Unfit: They are not.
    """
    forms = {
        (
            tuple(fed["name"] for fed in raw["inputs"]),
            tuple((out["name"], out["scale"], out["zero_point"]) for out in raw["outputs"]),
            tuple((array.dtype, array.shape[1:]) for array in stored),
        )
        for raw, stored in found
    }
    if len(forms) > 1:
        raise Unfit("evaluation is not of the same outputs for all samples")


def _require(table: Any, names: Sequence[str], where: str) -> None:
    for name in names:
        if name not in table:
            raise Unfit(f"{where} lacks {name}")


def _positive(numbers: Sequence[float], where: str) -> None:
    found = np.array(numbers, np.float64)
    if not len(found) or not ((found > 0) & (found < _LONGEST)).all():
        raise Unfit(f"{where} holds no numbers above 0" if len(found) else f"{where} is empty")
