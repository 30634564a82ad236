"""``edgeopt.check_model``: what a stage or an accelerator would do with a model, before any training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..api.reading import readable
from ..artifact.envelope import envelope
from ..artifact.shown import Shown
from ..errors import CheckError, UsageError
from ..flatbuffer.reader import IDENTIFIER, read_file
from ..process.isolation import OnEvent
from .items import CheckItem, CheckResult
from .registry import Loading, Subject, checker

_LOADING = [item.name for item in fields(Loading)]


@dataclass(frozen=True, repr=False)
class CheckReport(Shown):
    """What `check_model` found.

    Attributes:
        model: What was checked, by name.
        target: What it was checked for; None for all the stages.
        result: The items and the summary.

    Example:
        >>> edgeopt.check_model("model_int8.tflite", target="edgetpu").summary["cpu_ops"]
        {'DEQUANTIZE': 1}
    """

    model: str
    target: str | None
    result: CheckResult

    def shown(self) -> Mapping[str, object]:
        """Return what a prompt or a notebook shows."""
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in self.result.verdicts.items())
        return {
            "model": self.model,
            "target": self.target or "every stage",
            "verdicts": verdicts,
            "refused": self.refused,
        }

    @property
    def items(self) -> tuple[CheckItem, ...]:
        """One a layer or operator, in the order of the model; a refusal of the whole file comes first."""
        return self.result.items

    @property
    def summary(self) -> Mapping[str, Any]:
        """The target's totals and the count of each verdict."""
        return {**self.result.summary, "verdicts": self.result.verdicts}

    @property
    def refused(self) -> bool:
        """Whether the target would fail on the model; False without a target, where each stage has its own answer."""
        return self.target is not None and bool(self.result.refusals)

    def raise_if_refused(self) -> None:
        """Raise when the target would fail on the model.

        Raises:
            CheckError: It would; the first reason and its remedy are named.
        """
        if self.refused:
            first = self.result.refusals[0]
            raise CheckError(f"{self.target} refuses {self.model}: {first.advice}.")

    def to_dict(self) -> dict[str, object]:
        """Return the report in the JSON envelope of all verbs; the summary's fields stand at top level, too."""
        summary = dict(self.summary)
        fields = {"model": self.model, "target": self.target, "items": [item.to_dict() for item in self.items]}
        return envelope("check", "failed" if self.refused else "ok", {**summary, **fields, "summary": summary})


def check_model(
    model: Any, *, target: str | None = None, on_event: OnEvent | None = None, **options: Any
) -> CheckReport:
    """Say what a stage or an accelerator would do with each part of a model; nothing is trained or written.

    Args:
        model: A .tflite file (its path, bytes or an artifact), or a Keras model or the path of one, which is converted
            to int8 (for "gpu" to float16) for the check.
        target: "prune", "channels", "cluster", "qat" or "convert" (for a Keras model); "edgetpu", "gpu" or an
            Ethos-U configuration such as "ethos-u55-128"; None for all the stages, with an item for each layer and
            stage, and what `edgeopt.fix_model` would do under ``summary["fixes"]``.
        on_event: Called with {``stage``: name} as the work goes on.
        **options: For a Keras model ``calibration``, ``input_shapes``, ``custom_objects``, ``unsafe_load`` (as
            `edgeopt.convert` takes them); for "edgetpu" ``minimum_runtime``, ``rules`` and ``intermediate_tensors``.

    Raises:
        UsageError: The model cannot be read, is compiled already, or an option or target does not exist.
        ModelError: A Keras model cannot be converted.
        CompilerError: The target's predictor needs a compiler that is not installed.

    Example:
        >>> edgeopt.check_model("model_int8.tflite", target="edgetpu").refused
        False
    """
    given = {key: value for key, value in options.items() if value is not None}
    loading = Loading(**{key: given.pop(key) for key in _LOADING if key in given})
    found, subject = checker(target, given), _subject(model, loading)
    subject = subject if on_event is None else replace(subject, on_event=on_event)
    return CheckReport(subject.name, target, found.check(subject))


def _subject(model: Any, loading: Loading) -> Subject:
    if isinstance(model, (str, os.PathLike)):
        name = readable(model)
        if is_tflite(model):
            return Subject(name, tflite=read_file(model))
        return Subject(name, keras=model, loading=loading)
    data = model if isinstance(model, bytes) else getattr(model, "model", None)
    if isinstance(data, bytes):
        return Subject("The model", tflite=data)
    return Subject(str(getattr(model, "name", "The model")), keras=model, loading=loading)


def is_tflite(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is (or claims to be) a .tflite file, rather than a Keras model."""
    if os.path.isdir(path):
        return False
    try:
        with open(path, "rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}; give a .tflite file or a Keras model.") from error
    return head[4:8] == IDENTIFIER or os.fspath(path).endswith(".tflite")
