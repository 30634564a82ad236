"""The check for an accelerator: what its compiler would map of a .tflite file, operator by operator.

A Keras model is converted first, with made-up calibration data: the mapping depends on operators, shapes and types, and
on the ranges only in so far as equal ones save a QUANTIZE.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..converters.accelerator import CPU, MAPPED, Accelerator, OpMapping, Prediction, Predictor, Refusal, accelerator
from ..errors import ModelError, UsageError, nearest
from ..flatbuffer import Model, read_model
from ..models.spec import ModelSpec, fix_shapes
from ..process.isolation import TENSORFLOW, ChildCrash, run_isolated
from .items import OK, REFUSED, SKIPPED, UNSURE, CheckItem, CheckResult
from .registry import Subject

_VERDICTS = {MAPPED: OK, CPU: SKIPPED}
_EDGETPU_OPTIONS = ("minimum_runtime", "rules", "intermediate_tensors")
_SAMPLES = 8


@dataclass(frozen=True)
class AcceleratorChecker:
    """Checks models for one accelerator."""

    target: Accelerator
    predictor: Predictor

    @property
    def stage(self) -> str:
        """The accelerator's name."""
        return self.target.name

    def check(self, subject: Subject) -> CheckResult:
        """Predict the mapping (see `Checker.check`)."""
        data = subject.tflite
        if data is None:
            data = convert_for_check(subject, self.target.wants.recipe)
        model = read_model(data, subject.name)
        prediction = self.predictor.predict(model, data)
        items = [self._item(model, operator) for operator in prediction.operators]
        if prediction.refusal is not None:
            items.insert(0, self._refusal(subject, prediction.refusal))
        return CheckResult(tuple(items), _summary(prediction))

    def _refusal(self, subject: Subject, found: Refusal) -> CheckItem:
        """Return the item of a file that is refused as a whole."""
        details = {"source": found.source}
        return CheckItem(subject.name, "file", self.stage, REFUSED, found.rule, found.why, found.remedy, details)

    def _item(self, model: Model, operator: OpMapping) -> CheckItem:
        outputs = model.main.operators[operator.index].outputs
        return CheckItem(
            name=model.main.tensors[outputs[0]].name if outputs else f"operator {operator.index}",
            kind=operator.op,
            stage=self.stage,
            verdict=_VERDICTS.get(operator.verdict, UNSURE),
            rule=operator.rule,
            reason=operator.why,
            remedy=operator.remedy,
            details={"index": operator.index, "status": operator.status, "source": operator.source},
        )


def checker(name: str, options: Mapping[str, Any]) -> AcceleratorChecker:
    """Return the checker of the accelerator `name`.

    Args:
        name: Of the accelerator.
        options: For the Edge TPU: ``minimum_runtime`` (10 to 14), ``rules`` (path of a rules file) and
            ``intermediate_tensors`` (names).

    Raises:
        UsageError: An option does not go with the accelerator.
    """
    given = {key: value for key, value in options.items() if value is not None}
    allowed = _EDGETPU_OPTIONS if name == "edgetpu" else ()
    for key in given:
        if key not in allowed:
            known = nearest(key, allowed) if allowed else "; it takes none."
            raise UsageError(f"The option {key} does not go with the target {name!r}{known}")
    target = accelerator(name)
    return AcceleratorChecker(target, _edgetpu(given) if given else target.predictor)


def _edgetpu(options: Mapping[str, Any]) -> Predictor:
    from ..converters.edgetpu.predict import EdgeTpuPredictor
    from ..converters.edgetpu.rules import default_rules, load_rules

    runtime = options.get("minimum_runtime")
    if runtime is not None and not 10 <= runtime <= 14:
        raise UsageError(f"minimum_runtime is {runtime}; expected 10 to 14, the released Edge TPU runtimes.")
    rules = load_rules(options["rules"]) if "rules" in options else default_rules()
    return EdgeTpuPredictor(rules, runtime, tuple(options.get("intermediate_tensors", ())))


def convert_for_check(subject: Subject, recipe: Mapping[str, Any], model: Any = None) -> bytes:
    """Return the .tflite file that a Keras model becomes for an accelerator, calibrated on made-up data.

    Args:
        subject: The model.
        recipe: What the accelerator wants.
        model: The Keras model itself, where it is loaded already.

    Raises:
        UsageError: No Keras model, or one whose input shapes are open.
        ModelError: It cannot be loaded or converted.
    """
    from ..api.convert import convert

    loading = dict(subject.loading)
    calibration = loading.pop("calibration", None)
    options = {**recipe, "allow_float_ops": True, "calibration_samples": _SAMPLES, **loading}
    with tempfile.TemporaryDirectory(prefix="edgeopt-check-") as folder:
        if calibration is None:
            source = subject.keras if model is None else model
            calibration = _made_up(source, loading, os.path.join(folder, "calibration.npz"))
        return convert(subject.keras, calibration=calibration, **options).model


def _made_up(model: Any, loading: Mapping[str, Any], target: str) -> str | dict[str, Any]:
    """Return made-up samples; those for a model file are written to `target` by a child, which TensorFlow may kill."""
    shapes = {name: list(shape) for name, shape in loading.get("input_shapes", {}).items()}
    if not isinstance(model, (str, os.PathLike)):
        from ..models.load import describe

        return _samples(describe(model, input_names=list(shapes)).spec, shapes)
    keys = ("custom_objects", "unsafe_load")
    request = {"model": os.fspath(model), "shapes": shapes, "target": target}
    request["loading"] = {key: loading[key] for key in keys if key in loading}
    try:
        run_isolated("edgeopt.check.accelerator:write_made_up", request, modules=TENSORFLOW)
    except ChildCrash as crash:
        raise ModelError(f"Loading {request['model']} killed TensorFlow ({crash}); save the model again.") from crash
    return target


def write_made_up(request: Mapping[str, Any], emit: Any) -> str:
    """Load a model file and write samples for its inputs (runs in a child process, see `_made_up`)."""
    from ..models.load import load_model

    loaded = load_model(request["model"], input_names=list(request["shapes"]), **request["loading"])
    np.savez(request["target"], **_samples(loaded.spec, request["shapes"]))
    return str(request["target"])


def _samples(spec: ModelSpec, shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a few samples of noise in [0, 1) for each input, by name; zeros and ones for integer inputs."""
    random = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for item in fix_shapes(spec, shapes, 1):
        shape = (_SAMPLES, *(size or 1 for size in item.shape[1:]))
        integer = np.issubdtype(np.dtype(item.dtype), np.integer)
        found[item.name] = (
            random.integers(0, 2, shape).astype(item.dtype) if integer else random.random(shape, np.float32)
        )
    return found


def _summary(prediction: Prediction) -> dict[str, Any]:
    """Return the prediction's totals; the reasons carry what ``check`` promises of them."""
    found = prediction.to_dict()
    figures = found.pop("figures")
    return {**found, **figures}
