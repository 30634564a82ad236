"""The part of a conversion that needs TensorFlow: load, prepare, export, convert. Runs in a child process as a rule."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.calibration import calibration_set, check_fit, range_warnings
from ..data.dataset import Array, Dataset, sample_hashes
from ..errors import DataError, RecipeError
from ..models.detect import carries_ranges
from ..models.expectations import input_expectations
from ..models.export.export import LeanModel, export_lean
from ..models.spec import InputSpec, LoadedModel, fix_shapes
from ..recipes.convert import ConvertRecipe

Emit = Callable[[Mapping[str, Any]], None]
MODEL_FILE = "model.tflite"
SAMPLES_FILE = "samples.npz"


@dataclass(frozen=True)
class Chosen:
    """The samples that calibrate a model, and what is to be said of them."""

    data: Dataset
    warnings: Sequence[str]


@dataclass(frozen=True)
class Prepared:
    """An exported model with its calibration samples, and what is to be reported of both."""

    lean: LeanModel
    samples: dict[str, Array] | None
    report: dict[str, Any]


def choose(recipe: ConvertRecipe, calibration: Any) -> Chosen | None:
    """Read and check the calibration data; None where the recipe needs none.

    Raises:
        DataError: There are none although they are needed, or they cannot be used.
    """
    if not recipe.needs_calibration:
        return None
    if calibration is None:
        raise DataError(
            f"quantize={recipe.quantize!r} needs calibration data, which was not given; pass --calibration DATA "
            "(a few hundred real samples), or --quantize dynamic, which needs none."
        )
    data, warnings = calibration_set(
        calibration,
        recipe.calibration_samples,
        recipe.seed,
        image_size=recipe.image_size,
        image_scaling=recipe.image_scaling,
    )
    return Chosen(data, warnings)


def prepare(
    load: Callable[[], LoadedModel],
    recipe: ConvertRecipe,
    choose_data: Callable[[], Chosen | None],
    folder: Path,
    emit: Emit,
) -> Prepared:
    """Check the data, load the model, bind one to the other, and export the model to `folder`.

    Args:
        load: Gives the model; called after the data have been found good, because it may take long.
        recipe: What is asked for.
        choose_data: Gives the calibration samples.
        folder: For the lean SavedModel.
        emit: Told which stage begins, and the model's layers.

    Raises:
        EdgeoptError: The data, the model, or the two together do not do.
    """
    seconds: dict[str, float] = {}
    with _stage("data", seconds, emit):
        chosen = choose_data()
    with _stage("load", seconds, emit):
        model = load()
    emit({"layers": model.layers})
    inputs = fix_shapes(model.spec, recipe.input_shapes, None if recipe.dynamic_batch else recipe.batch_size)
    warnings = [*model.warnings, *_batch_warnings(inputs, recipe)]
    samples = None
    if chosen is not None:
        samples = chosen.data.bind([item.name for item in inputs], [item.shape for item in inputs])
        check_fit(samples, {item.name: item.dtype for item in inputs}, chosen.data.source)
        warnings += [*chosen.warnings, *range_warnings(samples, input_expectations(model))]
    with _stage("export", seconds, emit):
        lean = export_lean(model, inputs, folder, activations=recipe.activations)
    emit({"loops": lean.loops})
    report = {
        "flavour": model.flavour.value,
        "trained_ranges": carries_ranges(model.layers),
        "warnings": [*warnings, *lean.warnings],
        "seconds": seconds,
        "calibration": None if chosen is None or samples is None else _calibration_report(recipe, chosen, samples),
        "preparation": "" if chosen is None else chosen.data.note,
    }
    return Prepared(lean, samples, report)


def convert_file(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Child's side of a conversion from a file: everything, up to the .tflite file in ``request["folder"]``."""

    def load() -> LoadedModel:
        from ..models.load import load_model

        with quantized_layers(request["trained_ranges"]):
            return load_model(
                request["model"],
                custom_objects=request["custom_objects"],
                unsafe_load=request["unsafe_load"],
                input_names=list(recipe.input_shapes),
            )

    def choose_data() -> Chosen | None:
        if request["trained_ranges"]:
            return None
        if request["chosen"] is None:
            return choose(recipe, request["calibration"])
        return _read_chosen(request["chosen"])

    recipe = ConvertRecipe.from_dict(request["recipe"])
    folder = Path(request["folder"])
    prepared = prepare(load, recipe, choose_data, folder / "lean", emit)
    return _convert(prepared.lean, recipe, prepared.samples, folder, emit, prepared.report)


def check_trained(recipe: ConvertRecipe) -> None:
    """Raise unless a model that was trained for int8 is to become int8.

    Raises:
        RecipeError: Another quantisation is asked for.
    """
    if recipe.quantize != "int8":
        raise RecipeError(
            f"Received quantize={recipe.quantize!r} for a model that was trained for int8; use quantize='int8', or "
            "convert the float model that the training returned beside it."
        )


def quantized_layers(maker: str) -> Any:
    """Return a context in which Keras knows the layers of a QAT model.

    Args:
        maker: ``edgeopt``, ``tfmot``, or "" for a model without such layers.
    """
    if maker == "edgeopt":
        from ..passes.qat import qat_scope

        return qat_scope()
    if maker == "tfmot":
        import tensorflow_model_optimization as tfmot

        return tfmot.quantization.keras.quantize_scope()
    return nullcontext()


def convert_lean(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Child's side of a conversion from an object: the lean SavedModel and the samples have crossed as files."""
    recipe = ConvertRecipe.from_dict(request["recipe"])
    inputs = tuple(InputSpec(item["name"], tuple(item["shape"]), item["dtype"]) for item in request["inputs"])
    lean = LeanModel(Path(request["lean"]), inputs, tuple(request["output_names"]), tuple(request["layer_names"]))
    samples = None
    if request["samples"] is not None:
        arrays = _read_arrays(request["samples"])
        samples = {item.name: array for item, array in zip(inputs, arrays, strict=True)}
    return _convert(lean, recipe, samples, Path(request["folder"]), emit, {"seconds": {}})


def lean_request(prepared: Prepared, recipe: ConvertRecipe, folder: Path) -> dict[str, Any]:
    """Write the samples to `folder` and return the request for `convert_lean`."""
    samples = None if prepared.samples is None else _write_arrays(folder, list(prepared.samples.values()))
    return {
        "recipe": recipe.to_dict(),
        "folder": str(folder),
        "lean": str(prepared.lean.folder),
        "inputs": [{"name": item.name, "shape": item.shape, "dtype": item.dtype} for item in prepared.lean.inputs],
        "output_names": list(prepared.lean.output_names),
        "layer_names": list(prepared.lean.layer_names),
        "samples": samples,
    }


def write_chosen(chosen: Chosen, folder: Path) -> dict[str, Any]:
    """Write samples that lie in memory to `folder`, and return what `convert_file` reads them back by."""
    data = chosen.data
    return {
        "arrays": _write_arrays(folder, list(data.arrays)),
        "names": list(data.names),
        "source": data.source,
        "note": data.note,
        "warnings": list(chosen.warnings),
    }


def _read_chosen(written: Mapping[str, Any]) -> Chosen:
    data = Dataset(
        tuple(_read_arrays(written["arrays"])), tuple(written["names"]), None, written["source"], written["note"]
    )
    return Chosen(data, written["warnings"])


def _write_arrays(folder: Path, arrays: Sequence[Array]) -> str:
    target = folder / SAMPLES_FILE
    np.savez(target, *arrays)
    return str(target)


def _read_arrays(file: str) -> list[Array]:
    with np.load(file, allow_pickle=False) as archive:
        return [archive[f"arr_{index}"] for index in range(len(archive.files))]


def _convert(
    lean: LeanModel,
    recipe: ConvertRecipe,
    samples: dict[str, Array] | None,
    folder: Path,
    emit: Emit,
    report: dict[str, Any],
) -> dict[str, Any]:
    from ..converters.tflite import TFLiteBackend

    emit({"stage": "convert"})
    backend = TFLiteBackend()
    converted = backend.convert(lean, recipe, samples)
    (folder / MODEL_FILE).write_bytes(converted.model)
    seconds = {**report["seconds"], **converted.seconds}
    return {**report, "seconds": seconds, "converter": {"name": backend.name, "flags": dict(converted.flags)}}


def _batch_warnings(inputs: Sequence[InputSpec], recipe: ConvertRecipe) -> list[str]:
    """Say where the file's batch dimension is not the one asked for."""
    asked = None if recipe.dynamic_batch else recipe.batch_size
    return [
        f"batch: input {item.name!r} has the batch dimension {item.shape[0]}, as the model or --input-shape states"
        for item in inputs
        if item.shape and item.shape[0] != asked
    ]


def _calibration_report(recipe: ConvertRecipe, chosen: Chosen, samples: Mapping[str, Array]) -> dict[str, Any]:
    return {
        "count": chosen.data.count,
        "seed": recipe.seed,
        "source": chosen.data.source,
        "hashes": sample_hashes(list(samples.values())),
    }


@contextmanager
def _stage(name: str, seconds: dict[str, float], emit: Emit) -> Iterator[None]:
    """Tell that a stage begins, and keep how long it took."""
    emit({"stage": name})
    started = time.monotonic()
    yield
    seconds[name] = time.monotonic() - started
