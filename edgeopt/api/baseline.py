"""Running what a file is compared with, on the same samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..artifact.artifact import Artifact
from ..devices.agent.runtimes import AUTO, ONNX
from ..errors import DataError
from ..evaluation.metrics import Array
from ..flatbuffer.reader import IDENTIFIER
from ..onnxfile import is_onnx
from .reading import ModelFile, read_any

if TYPE_CHECKING:
    from ..devices import Device, Progress, RunOptions
    from ..process.isolation import Event, OnEvent


@dataclass(frozen=True)
class Baseline:
    """What a file is compared with.

    Attributes:
        model: A .tflite file (path, bytes or `edgeopt.Artifact`), which runs on the same device; or a Keras model or
            SavedModel (path or object), which runs in TensorFlow, a path in a process of its own.
        custom_objects: ``module:NAME`` for what a Keras file needs.
        unsafe_load: Allow Python code stored in a Keras file to run.
    """

    model: Any
    custom_objects: Sequence[str] = ()
    unsafe_load: bool = False


@dataclass(frozen=True, eq=False)
class BaselineOutputs:
    """The outputs of a baseline, by the names of the candidate's outputs, and how they came about."""

    outputs: Mapping[str, Array]
    facts: Mapping[str, object]


def check_baseline(baseline: Baseline) -> ModelFile | None:
    """Return the baseline's file, if it is a .tflite or .onnx file; raise early where it is no model.

    Raises:
        UsageError: The path leads nowhere; `FileFormatError` when it leads to no model.
    """
    model = baseline.model
    if isinstance(model, (str, os.PathLike)) and not _is_file(model):
        from ..models.detect import detect

        detect(os.fspath(model))
        return None
    return read_any(model, "The baseline") if isinstance(model, (str, os.PathLike, bytes, Artifact)) else None


def run_baseline(
    baseline: Baseline,
    file: ModelFile | None,
    inputs: Mapping[str, Array],
    device: Device,
    options: RunOptions,
    names: Sequence[str],
    on_progress: Callable[[Progress], None] | None = None,
) -> BaselineOutputs:
    """Run a baseline on the samples.

    Args:
        baseline: Which one.
        file: What `check_baseline` returned of it.
        inputs: Input name of the candidate, or of the model that it was made from -> samples.
        device: Where a .tflite file runs.
        options: How it runs there; it is not timed.
        names: The candidate's output names, in its order.
        on_progress: Called with every sign of life.

    Raises:
        DataError: Its inputs or outputs do not correspond to the candidate's.
        InvokeError: It fails on the data.
    """
    if file is not None:
        return _run_file(file, inputs, device, options, names, on_progress)
    from ..models.predict import predict_isolated

    tell = telling(on_progress)
    if isinstance(baseline.model, (str, os.PathLike)):
        tell({"stage": "tensorflow"})
    outputs = predict_isolated(
        baseline.model,
        inputs,
        custom_objects=baseline.custom_objects,
        unsafe_load=baseline.unsafe_load,
        on_event=tell,
    )
    if len(outputs) != len(names):
        raise _other_outputs(len(outputs), names)
    return BaselineOutputs(dict(zip(names, outputs, strict=True)), {"kind": "keras"})


def _is_file(path: str | os.PathLike[str]) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as stream:
        head = stream.read(8)
    return head[4:] == IDENTIFIER or is_onnx(head)


def telling(on_progress: Callable[[Progress], None] | None) -> OnEvent:
    """Return what takes a child's events and tells them as a device's signs of life are told."""
    from ..devices import Progress

    def tell(event: Event) -> None:
        if on_progress is not None and "stage" in event:
            on_progress(Progress(str(event["stage"]), int(event.get("done", 0)), event.get("total")))

    return tell


def _run_file(
    file: ModelFile,
    inputs: Mapping[str, Array],
    device: Device,
    options: RunOptions,
    names: Sequence[str],
    on_progress: Callable[[Progress], None] | None,
) -> BaselineOutputs:
    own, contract = [spec.name for spec in file.inputs], file.contract
    if contract.front is not None and not set(own) <= inputs.keys():
        inputs = {name: array for name, array in contract.prepared(inputs).items() if name in own}
    if len(own) == len(inputs) == 1:
        inputs = dict(zip(own, inputs.values(), strict=True))
    elif set(own) != set(inputs):
        raise DataError(f"The baseline's inputs are {', '.join(own)}, but the file's {', '.join(inputs)}; rename them.")
    if is_onnx(file.data) != (options.runtime == ONNX):  # the runtime of the other format
        options = replace(options, runtime=AUTO)
    measured = device.measure(file.data, inputs, replace(options, bench=None), on_progress=on_progress)
    found = contract.joined(measured.real_outputs())
    if len(found) == len(names) == 1:
        found = dict(zip(names, found.values(), strict=True))
    elif set(found) != set(names):
        raise _other_outputs(len(found), names)
    kind = "onnx" if is_onnx(file.data) else "tflite"
    return BaselineOutputs(found, {"kind": kind, "kernel_profile": measured.kernel_profile.to_dict()})


def _other_outputs(count: int, names: Sequence[str]) -> DataError:
    return DataError(
        f"The baseline has {count} output(s) that do not correspond to the file's {len(names)} ({', '.join(names)}); "
        "give the model that the file was made from."
    )
