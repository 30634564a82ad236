"""The part of a conversion that needs TensorFlow: load, prepare, export, convert. Runs in a child process as a rule."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..calibration import check_samples, choose_samples, range_warnings
from ..data import Array, Dataset, load_dataset, sample_hashes
from ..errors import DataError
from ..models.export import LeanModel, export_lean
from ..models.load import LoadedModel
from ..models.spec import InputSpec, fix_shapes
from ..recipe import ConvertRecipe

Emit = Callable[[Mapping[str, Any]], None]
MODEL_FILE = "model.tflite"
SAMPLES_FILE = "samples.npz"


@dataclass(frozen=True)
class Prepared:
    """An exported model with its calibration samples, and what is to be reported of both."""

    lean: LeanModel
    samples: dict[str, Array] | None
    report: dict[str, Any]


def prepare(
    loaded: Callable[[], LoadedModel], recipe: ConvertRecipe, calibration: Any, folder: Path, emit: Emit
) -> Prepared:
    """Check the data, load the model, bind one to the other, and export the model to `folder`.

    Args:
        loaded: Gives the model; called after the data have been found good, because it may take long.
        recipe: What is asked for.
        calibration: Any source that `load_dataset` takes, or None.
        folder: For the lean SavedModel.
        emit: Told which stage begins, and the model's layers.

    Raises:
        EdgeoptError: The data, the model, or the two together do not do.
    """
    clock = _Stages(emit)
    warnings: list[str] = []
    chosen = None
    if recipe.needs_calibration:
        with clock.stage("data"):
            chosen = _choose(recipe, calibration)
            arrays = dict(zip(chosen.names or map(str, range(len(chosen.arrays))), chosen.arrays, strict=True))
            warnings += [
                f"few-samples: {text}" for text in check_samples(arrays, recipe.calibration_samples, chosen.source)
            ]
    with clock.stage("load"):
        model = loaded()
    emit({"layers": model.layers})
    warnings += [f"signature: {text}" for text in model.warnings]
    inputs = fix_shapes(model.spec, recipe.input_shapes, None if recipe.dynamic_batch else recipe.batch_size)
    samples = _bind(chosen, inputs) if chosen is not None else None
    if samples is not None:
        from ..models.expectations import input_expectations

        warnings += [f"range: {text}" for text in range_warnings(samples, input_expectations(model))]
    with clock.stage("export"):
        lean = export_lean(model, inputs, folder, unroll=recipe.needs_calibration)
    if lean.unrolled_layers:
        names = ", ".join(map(repr, lean.unrolled_layers))
        warnings.append(
            f"unrolled: the recurrent layer(s) {names} were unrolled, because their loop cannot be quantised"
        )
    report = {
        "flavour": model.flavour.value,
        "warnings": warnings,
        "seconds": clock.seconds,
        "calibration": _calibration_report(recipe, chosen, samples),
        "preparation": chosen.note if chosen is not None else "",
    }
    return Prepared(lean, samples, report)


def convert_file(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Child's side of the command line: everything, from the model file to the .tflite file in ``request["folder"]``."""

    def load() -> LoadedModel:
        from ..models.load import load_model

        return load_model(
            request["model"],
            custom_objects=request["custom_objects"],
            unsafe_load=request["unsafe_load"],
            input_names=list(recipe.input_shapes),
        )

    recipe = ConvertRecipe.from_dict(request["recipe"])
    folder = Path(request["folder"])
    prepared = prepare(load, recipe, request["calibration"], folder / "lean", emit)
    return _convert(prepared.lean, recipe, prepared.samples, folder, emit, prepared.report)


def convert_lean(request: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Child's side of the Python API: the lean SavedModel and the samples have crossed as files."""
    recipe = ConvertRecipe.from_dict(request["recipe"])
    folder = Path(request["folder"])
    inputs = tuple(InputSpec(item["name"], tuple(item["shape"]), item["dtype"]) for item in request["inputs"])
    lean = LeanModel(Path(request["lean"]), inputs, tuple(request["output_names"]), ())
    samples = None
    if request["samples"] is not None:
        with np.load(request["samples"], allow_pickle=False) as archive:
            samples = {item.name: archive[f"{i:03d}"] for i, item in enumerate(inputs)}
    return _convert(lean, recipe, samples, folder, emit, {"seconds": {}})


def lean_request(prepared: Prepared, recipe: ConvertRecipe, folder: Path) -> dict[str, Any]:
    """Write the samples to `folder` and return the request for `convert_lean`."""
    samples_file = None
    if prepared.samples is not None:
        samples_file = str(folder / SAMPLES_FILE)
        arrays = {f"{i:03d}": prepared.samples[item.name] for i, item in enumerate(prepared.lean.inputs)}
        np.savez(samples_file, **arrays)
    return {
        "recipe": recipe.to_dict(),
        "folder": str(folder),
        "lean": str(prepared.lean.folder),
        "inputs": [{"name": item.name, "shape": item.shape, "dtype": item.dtype} for item in prepared.lean.inputs],
        "output_names": list(prepared.lean.output_names),
        "samples": samples_file,
    }


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


def _choose(recipe: ConvertRecipe, calibration: Any) -> Dataset:
    if calibration is None:
        raise DataError(
            f"quantize={recipe.quantize!r} needs calibration data, which was not given; pass --calibration DATA "
            "(a few hundred real samples), or --quantize dynamic, which needs none."
        )
    dataset = load_dataset(
        calibration,
        image_size=recipe.image_size,
        image_scaling=recipe.image_scaling,
        limit=recipe.calibration_samples,
    )
    return dataset.take(choose_samples(dataset, recipe.calibration_samples, recipe.seed))


def _bind(chosen: Dataset, inputs: tuple[InputSpec, ...]) -> dict[str, Array]:
    return chosen.bind([item.name for item in inputs], [item.shape for item in inputs])


def _calibration_report(
    recipe: ConvertRecipe, chosen: Dataset | None, samples: dict[str, Array] | None
) -> dict[str, Any] | None:
    if chosen is None or samples is None:
        return None
    return {
        "count": chosen.count,
        "seed": recipe.seed,
        "source": chosen.source,
        "hashes": sample_hashes(list(samples.values())),
    }


class _Stages:
    """Tells which stage begins and keeps how long each took."""

    def __init__(self, emit: Emit) -> None:
        self.seconds: dict[str, float] = {}
        self._emit = emit

    def stage(self, name: str) -> _Stage:
        self._emit({"stage": name})
        return _Stage(self.seconds, name)


class _Stage:
    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._name] = time.monotonic() - self._started
