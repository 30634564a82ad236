"""Running what a file is compared with, on the same samples."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..artifact.artifact import Artifact
from ..errors import DataError, FileFormatError, UsageError
from ..evaluation.metrics import Array

if TYPE_CHECKING:
    from ..devices import Device, RunOptions

_TFLITE_MAGIC = b"TFL3"


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
    facts: Mapping[str, Any]


def check_baseline(baseline: Baseline) -> None:
    """Raise, before anything slow runs, when the baseline is a path that leads to no model.

    Raises:
        UsageError: It does not exist; `FileFormatError` when it is no model.
    """
    if isinstance(baseline.model, (str, os.PathLike)) and tflite_bytes(baseline.model) is None:
        from ..models.detect import detect

        detect(os.fspath(baseline.model))


def run_baseline(
    baseline: Baseline, inputs: Mapping[str, Array], device: Device, options: RunOptions, names: Sequence[str]
) -> BaselineOutputs:
    """Run a baseline on the samples.

    Args:
        baseline: Which one.
        inputs: Input name of the candidate -> samples, in the candidate's order.
        device: Where a .tflite file runs.
        options: How it runs there; it is not timed.
        names: The candidate's output names, in its order.

    Raises:
        UsageError: The file cannot be read.
        DataError: Its inputs or outputs do not correspond to the candidate's.
        InvokeError: It fails on the data.
    """
    model = tflite_bytes(baseline.model)
    if model is not None:
        return _run_file(model, inputs, device, options, names)
    from ..models.predict import predict_isolated

    outputs = predict_isolated(
        baseline.model, inputs, custom_objects=baseline.custom_objects, unsafe_load=baseline.unsafe_load
    )
    if len(outputs) != len(names):
        raise _other_outputs(len(outputs), names)
    return BaselineOutputs(dict(zip(names, outputs, strict=True)), {"kind": "keras"})


def tflite_bytes(model: Any) -> bytes | None:
    """Return the bytes of a .tflite file given as path, bytes or artifact, or None for anything else.

    Raises:
        FileFormatError: Bytes that are no .tflite file.
    """
    if isinstance(model, Artifact):
        return model.model
    if isinstance(model, bytes):
        if model[4:8] != _TFLITE_MAGIC:
            raise FileFormatError("The bytes given as baseline are no .tflite file; pass its content, or a path.")
        return model
    if isinstance(model, (str, os.PathLike)) and os.path.isfile(model):
        with open(model, "rb") as stream:
            head = stream.read(8)
            if head[4:8] == _TFLITE_MAGIC:
                return head + stream.read()
    return None


def _run_file(
    model: bytes, inputs: Mapping[str, Array], device: Device, options: RunOptions, names: Sequence[str]
) -> BaselineOutputs:
    from ..flatbuffer import read_model
    from ..flatbuffer.specs import input_specs

    own = [spec.name for spec in input_specs(read_model(model, "The baseline"))]
    if len(own) == len(inputs) == 1:
        inputs = dict(zip(own, inputs.values(), strict=True))
    elif set(own) != set(inputs):
        raise DataError(f"The baseline's inputs are {', '.join(own)}, but the file's {', '.join(inputs)}; rename them.")
    measured = device.measure(model, inputs, replace(options, bench=None))
    found = {} if measured.evaluation is None else {item.name: item.real() for item in measured.evaluation.outputs}
    if len(found) == len(names) == 1:
        found = dict(zip(names, found.values(), strict=True))
    elif set(found) != set(names):
        raise _other_outputs(len(found), names)
    return BaselineOutputs(found, {"kind": "tflite", "kernel_profile": measured.kernel_profile.to_dict()})


def _other_outputs(count: int, names: Sequence[str]) -> UsageError:
    return DataError(
        f"The baseline has {count} output(s) that do not correspond to the file's {len(names)} ({', '.join(names)}); "
        "give the model that the file was made from."
    )
