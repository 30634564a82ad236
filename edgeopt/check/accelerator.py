"""The check for an accelerator: what its compiler would map of a .tflite file, operator by operator.

A Keras model is converted first, with made-up calibration data: the mapping depends on operators, shapes and types, and
on the ranges only in so far as equal ones save a QUANTIZE.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ..artifact.scratch import scratch_folder
from ..converters.accelerator import CPU, MAPPED, OpMapping, Prediction, Predictor, Refusal, accelerator
from ..converters.gpu import GPU, RECIPE, GpuPredictor
from ..errors import ModelError, UsageError, nearest
from ..flatbuffer import Model, read_model
from ..models.spec import ModelSpec, fix_shapes
from ..process.isolation import TENSORFLOW, ChildCrash, run_isolated
from ..process.request import Request
from .items import OK, REFUSED, SKIPPED, UNSURE, CheckItem, CheckResult
from .registry import Loading, Subject

Array = npt.NDArray[Any]

_VERDICTS = {MAPPED: OK, CPU: SKIPPED}
_SAMPLES = 8


@dataclass(frozen=True)
class EdgeTpuOptions:
    """What the check for the Edge TPU takes.

    Attributes:
        minimum_runtime: The oldest runtime that must run the file, 10 to 14; None, the default, takes the rules'.
        rules: Path of a rules file; None takes edgeopt's own.
        intermediate_tensors: Names of tensors at which the compiler is to stop; none by default.
    """

    minimum_runtime: int | None = None
    rules: str | None = None
    intermediate_tensors: Sequence[str] = ()


@dataclass(frozen=True)
class MadeUp(Request):
    """For which model file a child makes up samples.

    Attributes:
        model: Path of the model file.
        target: Path of the .npz that the samples are written to.
        shapes: Input name -> its shape, for inputs of open shapes.
        custom_objects: ``module:NAME`` for what the file needs.
        unsafe_load: Whether Python code stored in the file may run.
    """

    model: str
    target: str
    shapes: Mapping[str, Sequence[int]]
    custom_objects: Sequence[str]
    unsafe_load: bool


@dataclass(frozen=True)
class AcceleratorChecker:
    """Checks models for one accelerator.

    Attributes:
        stage: The accelerator's name.
        recipe: What it wants of the conversion of a Keras model.
        predictor: Says what it would run.
    """

    stage: str
    recipe: Mapping[str, Any]
    predictor: Predictor

    def check(self, subject: Subject) -> CheckResult:
        """Predict the mapping (see `Checker.check`)."""
        data = subject.tflite
        if data is None:
            data = convert_for_check(subject, self.recipe)
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
        name: The name of the accelerator.
        options: For the Edge TPU the fields of `EdgeTpuOptions`; for others none.

    Raises:
        UsageError: An option does not go with the accelerator.
    """
    given = {key: value for key, value in options.items() if value is not None}
    allowed = [item.name for item in fields(EdgeTpuOptions)] if name == "edgetpu" else []
    for key in given:
        if key not in allowed:
            known = nearest(key, allowed) if allowed else "; it takes none."
            raise UsageError(f"The option {key} does not go with the target {name!r}{known}")
    if name == GPU:
        return AcceleratorChecker(GPU, RECIPE, GpuPredictor())
    target = accelerator(name)
    predictor = _edgetpu(EdgeTpuOptions(**given)) if given else target.predictor
    return AcceleratorChecker(name, target.wants.recipe, predictor)


def _edgetpu(options: EdgeTpuOptions) -> Predictor:
    from ..converters.edgetpu.predict import EdgeTpuPredictor
    from ..converters.edgetpu.rules import default_rules, load_rules

    runtime = options.minimum_runtime
    if runtime is not None and not 10 <= runtime <= 14:
        raise UsageError(f"minimum_runtime is {runtime}; expected 10 to 14, the released Edge TPU runtimes.")
    rules = default_rules() if options.rules is None else load_rules(options.rules)
    return EdgeTpuPredictor(rules, runtime, tuple(options.intermediate_tensors))


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

    loading, calibration = subject.loading, subject.loading.calibration
    # Which operators there are is asked, not how good their numbers are.
    options: dict[str, Any] = {**recipe, "fidelity": False}
    if recipe.get("quantize", "int8") != "int8":
        return _converted(subject, options)
    options |= {"edges": "int8", "ranges": "minmax", "allow_float_ops": True, "calibration_samples": _SAMPLES}
    with scratch_folder("check") as folder:
        if calibration is None:
            source = subject.keras if model is None else model
            calibration = _made_up(source, loading, str(folder / "calibration.npz"))
        return _converted(subject, {**options, "calibration": calibration})


def _converted(subject: Subject, options: Mapping[str, Any]) -> bytes:
    from ..api.convert import convert

    loading = subject.loading
    known, trusted, shapes = loading.custom_objects, loading.unsafe_load, loading.input_shapes
    given = {"custom_objects": known, "unsafe_load": trusted, "input_shapes": shapes, **options}
    return convert(subject.keras, on_event=subject.on_event, **given).model


def _made_up(model: Any, loading: Loading, target: str) -> str | dict[str, Array]:
    """Return made-up samples; those for a model file are written to `target` by a child, which TensorFlow may kill."""
    shapes = {name: list(shape) for name, shape in loading.input_shapes.items()}
    if not isinstance(model, (str, os.PathLike)):
        from ..models.load import describe

        return _samples(describe(model, input_names=list(shapes)).spec, shapes)
    request = MadeUp(os.fspath(model), target, shapes, loading.custom_objects, loading.unsafe_load)
    try:
        run_isolated("edgeopt.check.accelerator:write_made_up", request.to_dict(), modules=TENSORFLOW)
    except ChildCrash as crash:
        raise ModelError(f"Loading {request.model} killed TensorFlow ({crash}); save the model again.") from crash
    return target


def write_made_up(values: Mapping[str, Any], emit: Any) -> str:
    """Load a model file and write samples for its inputs (runs in a child process, see `_made_up`)."""
    from ..models.load import load_model

    request = MadeUp.from_dict(values)
    names, known = list(request.shapes), request.custom_objects
    loaded = load_model(request.model, custom_objects=known, unsafe_load=request.unsafe_load, input_names=names)
    np.savez(request.target, **_samples(loaded.spec, request.shapes))
    return request.target


def _samples(spec: ModelSpec, shapes: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    """Return a few samples of noise in [0, 1) for each input, by name; zeros and ones for integers and strings."""
    random = np.random.default_rng(0)
    found: dict[str, Array] = {}
    for item in fix_shapes(spec, shapes, 1):
        shape = (_SAMPLES, *(size or 1 for size in item.shape[1:]))
        dtype = np.dtype("U1" if item.dtype == "string" else item.dtype)
        found[item.name] = (
            _counted(random, shape).astype(dtype) if dtype.kind in "iuU" else random.random(shape, np.float32)
        )
    return found


def _counted(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return zeros and ones; no row of several is all zeros, which a mask would leave nothing of."""
    values = random.integers(0, 2, shape)
    if shape[-1] > 1:
        values[~values.any(axis=-1), 0] = 1
    return values


def _summary(prediction: Prediction) -> dict[str, object]:
    """Return the prediction's totals; the reasons carry what ``check`` promises of them."""
    found = prediction.to_dict()
    figures = found.pop("figures")
    return {**found, **figures}
