"""``edgeopt.convert``: a Keras model becomes a .tflite file that is what it claims to be."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..artifact import Artifact
from ..errors import ConversionError, RecipeError
from ..isolation import ChildCrash, Event, run_isolated
from ..provenance import model_fingerprint, tool_versions
from ..recipe import ConvertRecipe
from .convert_verify import describe_file, verify

_ALIASES = {"inference_input_type": "input_type", "inference_output_type": "output_type"}
_SUSPECTS = ("RNN", "LSTM", "GRU", "Bidirectional", "ConvLSTM")


def convert(
    model: Any,
    *,
    calibration: Any = None,
    recipe: ConvertRecipe | None = None,
    custom_objects: Sequence[str] = (),
    unsafe_load: bool = False,
    isolate: bool = True,
    on_event: Callable[[Event], None] | None = None,
    **options: Any,
) -> Artifact:
    """Convert a Keras model to TFLite; by default full int8, static batch 1, int8 inputs and outputs.

    Args:
        model: A ``keras.Model``, a ``tf_keras.Model``, or the path of a .keras or .h5 file or a SavedModel folder.
        calibration: Samples for int8 and int16x8: an ndarray, a dict by input name, a ``tf.data.Dataset``, a
            ``representative_dataset`` callable, or a path (.npz, .npy, a folder of images, ``module:callable``).
        recipe: All settings at once; `options` change single ones.
        custom_objects: ``module:NAME`` for what a model file needs.
        unsafe_load: Allow Python code stored in a model file to run.
        isolate: Convert in a child process, so that a crash of the calibrator is an error here.
        on_event: Called with {``stage``: name} as the work goes on.
        **options: Fields of `edgeopt.recipe.ConvertRecipe`, such as ``quantize="int8"``, ``calibration_samples=200``,
            ``seed=0``, ``input_type="uint8"`` (or ``inference_input_type``), ``per_tensor_dense=True``.

    Returns:
        The file and its sidecar; nothing is written until `Artifact.save`.

    Raises:
        UsageError: A model, option or calibration data that cannot be used (RecipeError, DataError, FileFormatError).
        ModelError: The model cannot be converted (ConversionError), or the file is not what was asked for
            (NotFullyIntegerError names each float operator and dynamic tensor).

    Example:
        >>> artifact = edgeopt.convert(model, calibration=x_train, quantize="int8")
        >>> artifact.save("model_int8.tflite")
    """
    started = time.monotonic()
    settings = _settings(recipe, options)
    with tempfile.TemporaryDirectory(prefix="edgeopt-convert-") as name:
        folder = Path(name)
        if isinstance(model, (str, os.PathLike)):
            source: dict[str, Any] = {"path": str(model), "sha256": model_fingerprint(model)}
            reply = _convert_path(
                model, calibration, settings, folder, isolate, (tuple(custom_objects), unsafe_load), on_event
            )
        else:
            source = {"path": None, "name": str(getattr(model, "name", type(model).__name__)), "sha256": None}
            reply = _convert_object(model, calibration, settings, folder, isolate, on_event)
        data = (folder / "model.tflite").read_bytes()
    warnings = verify(data, settings) + list(reply["warnings"])
    sidecar = {
        **describe_file(data, settings),
        "calibration": reply["calibration"],
        "preprocess": "; ".join(note for note in (reply["preparation"], settings.preprocess) if note),
        "warnings": warnings,
        "seconds": {**reply["seconds"], "total": time.monotonic() - started},
        "recipe": settings.to_dict(),
        "source_model": {**source, "flavour": reply["flavour"]},
        "converter": reply["converter"],
        "tools": tool_versions(),
    }
    return Artifact(data, sidecar)


def _settings(recipe: ConvertRecipe | None, options: Mapping[str, Any]) -> ConvertRecipe:
    renamed = {_ALIASES.get(key, key): value for key, value in options.items()}
    if len(renamed) != len(options):
        raise RecipeError("input_type and inference_input_type (or output) were both given; give one of them.")
    base = {} if recipe is None else recipe.to_dict()
    return ConvertRecipe.from_dict({**base, **renamed})


def _convert_path(
    model: str | os.PathLike[str],
    calibration: Any,
    recipe: ConvertRecipe,
    folder: Path,
    isolate: bool,
    loading: tuple[tuple[str, ...], bool],
    on_event: Callable[[Event], None] | None,
) -> dict[str, Any]:
    custom_objects, unsafe_load = loading
    crossing = calibration if isinstance(calibration, (str, type(None))) else _materialised(calibration, recipe, folder)
    request = {
        "model": os.fspath(model),
        "custom_objects": list(custom_objects),
        "unsafe_load": unsafe_load,
        "recipe": recipe.to_dict(),
        "calibration": crossing,
        "folder": str(folder),
    }
    _early_checks(model, recipe, calibration)
    return _run("convert_file", request, isolate, on_event)


def _convert_object(
    model: Any,
    calibration: Any,
    recipe: ConvertRecipe,
    folder: Path,
    isolate: bool,
    on_event: Callable[[Event], None] | None,
) -> dict[str, Any]:
    from ..models.load import describe
    from .convert_job import lean_request, prepare

    layers: list[Event] = []

    def emit(event: Event) -> None:
        layers.append(event)
        if on_event is not None:
            on_event(event)

    prepared = prepare(
        lambda: describe(model, input_names=list(recipe.input_shapes)), recipe, calibration, folder / "lean", emit
    )
    reply = _run("convert_lean", lean_request(prepared, recipe, folder), isolate, on_event, layers)
    return {**prepared.report, **reply, "seconds": {**prepared.report["seconds"], **reply["seconds"]}}


def _early_checks(model: str | os.PathLike[str], recipe: ConvertRecipe, calibration: Any) -> None:
    """Fail in milliseconds on what needs no TensorFlow to be seen."""
    from ..models.detect import detect

    detect(os.fspath(model))
    if recipe.needs_calibration and calibration is None:
        from .convert_job import _choose

        _choose(recipe, None)


def _materialised(calibration: Any, recipe: ConvertRecipe, folder: Path) -> str:
    """Write in-memory calibration data to a file that can cross to the child."""
    import numpy as np

    from ..data import load_dataset

    if isinstance(calibration, os.PathLike):
        return os.fspath(calibration)
    dataset = load_dataset(calibration, limit=recipe.calibration_samples)
    arrays = dict(zip(dataset.names, dataset.arrays, strict=True)) if dataset.names else {"x": dataset.arrays[0]}
    if not dataset.names and len(dataset.arrays) > 1:
        arrays = {f"input_{i}": array for i, array in enumerate(dataset.arrays)}
    if dataset.labels is not None:
        arrays["y"] = dataset.labels
    target = folder / "calibration.npz"
    np.savez(target, **arrays)
    return str(target)


def _run(
    function: str,
    request: dict[str, Any],
    isolate: bool,
    on_event: Callable[[Event], None] | None,
    earlier: Sequence[Event] = (),
) -> dict[str, Any]:
    if not isolate:
        from . import convert_job

        reply = getattr(convert_job, function)(request, on_event or (lambda event: None))
    else:
        try:
            reply = run_isolated(f"edgeopt.api.convert_job:{function}", request, on_event)
        except ChildCrash as crash:
            raise _crash_error(crash, [*earlier, *crash.events]) from crash
    if not isinstance(reply, dict):
        raise TypeError(f"{function} replied {type(reply).__name__}, expected a dict")
    return reply


def _crash_error(crash: ChildCrash, events: Sequence[Event]) -> ConversionError:
    """Name the layers that a crash of the converter points to."""
    stage = next((event["stage"] for event in reversed(events) if "stage" in event), "start")
    layers = next((event["layers"] for event in reversed(events) if "layers" in event), [])
    suspects = [f"{name!r} ({kind})" for name, kind in layers if any(word in kind for word in _SUSPECTS)]
    custom = [f"{name!r} ({kind})" for name, kind in layers if kind in ("Lambda", "TFOpLambda")]
    named = suspects or custom
    how = f"was killed by {crash.signal_name}" if crash.signal_name else "ended without a result"
    hint = f"suspect layer(s): {', '.join(named[:5])}" if named else "no layer is known to crash it"
    memory = " (out of memory?)" if crash.signal_name == "SIGKILL" else ""
    tail = crash.tail.strip().splitlines()[-1:] if not crash.signal_name else []
    detail = f"; it last said: {tail[0][:200]}" if tail else ""
    return ConversionError(
        f"TensorFlow's converter {how}{memory} in the stage {stage!r}; {hint}{detail}; "
        "replace the layer, or convert with --quantize dynamic or float16."
    )
