"""The stages' look at a model file, in a child: TensorFlow is loaded once for all children, and a crash ends in one."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..artifact.scratch import scratch_folder
from ..errors import DataError, EdgeoptError, ModelError
from ..process.isolation import TENSORFLOW, ChildCrash, OnEvent, run_isolated
from ..process.request import Request
from .accelerator import convert_for_check
from .items import CheckItem, CheckResult
from .registry import Conversion, Loading, Subject, checker

ALL = "all"


@dataclass(frozen=True)
class Look(Request):
    """Which model file a child looks at.

    Attributes:
        stage: The stage, or `ALL`.
        name: What to call the model.
        model: Path of the file.
        custom_objects: ``module:NAME`` for what the file needs.
        unsafe_load: Whether Python code stored in the file may run.
        input_shapes: Input name -> its shape, for inputs of open shapes.
        converted: Path of what the model becomes as int8; None where that is not asked for, or failed.
        refused: Why the conversion failed; "" where it did not.
    """

    stage: str
    name: str
    model: str
    custom_objects: Sequence[str]
    unsafe_load: bool
    input_shapes: Mapping[str, Sequence[int]]
    converted: str | None = None
    refused: str = ""


def goes_apart(subject: Subject) -> bool:
    """Whether a child looks at a subject: at a file, unless TensorFlow, and what the user registered, is here."""
    is_file = isinstance(subject.keras, (str, os.PathLike)) and os.name == "posix"
    return is_file and subject.conversion is None and "tensorflow" not in sys.modules


def look_apart(stage: str, subject: Subject) -> CheckResult:
    """Convert a model file where the stage asks for that, and have a child look at it.

    Raises:
        UsageError: The file cannot be read.
        ModelError: It needs custom objects, or killed TensorFlow.
    """
    loading = subject.loading
    with scratch_folder("check") as folder:
        converted, refused = folder / "model.tflite", ""
        if stage in (ALL, "convert"):
            try:
                converted.write_bytes(convert_for_check(subject, {}))
            except DataError:
                raise  # says nothing of the model
            except EdgeoptError as error:
                refused = str(error)
        request = Look(
            stage,
            subject.name,
            os.path.abspath(subject.keras),
            tuple(loading.custom_objects),
            loading.unsafe_load,
            {name: list(shape) for name, shape in loading.input_shapes.items()},
            str(converted) if converted.exists() else None,
            refused,
        )
        try:
            found = run_isolated("edgeopt.check.apart:look", request.to_dict(), subject.on_event, modules=TENSORFLOW)
        except ChildCrash as crash:
            raise ModelError(f"Looking at {subject.name} killed TensorFlow ({crash}); save the model again.") from crash
    return CheckResult(tuple(CheckItem(**item) for item in found["items"]), found["summary"])


def look(values: Mapping[str, Any], emit: OnEvent) -> dict[str, Any]:
    """Look at a model file (the child's side)."""
    asked = Look.from_dict(values)
    file = None if asked.converted is None else Path(asked.converted).read_bytes()
    loading = Loading(None, asked.custom_objects, asked.unsafe_load, asked.input_shapes)
    subject = Subject(asked.name, None, asked.model, loading, emit, Conversion(file, asked.refused))
    found = checker(None if asked.stage == ALL else asked.stage).check(subject)
    return {"items": [asdict(item) for item in found.items], "summary": found.summary}
