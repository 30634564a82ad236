"""Before a conversion: the data are read and checked, the model is loaded, bound to them, and exported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..data.calibration import HELD_BACK, Chosen, calibration_set, check_fit, range_warnings
from ..data.dataset import Array, sample_hashes
from ..errors import DataError, RecipeError
from ..models.detect import carries_ranges
from ..models.expectations import input_expectations
from ..models.export.export import LeanModel, export_lean
from ..models.export.lookups import refuse_strings
from ..models.larq import is_binary
from ..models.spec import InputSpec, LoadedModel, fix_shapes
from ..process.isolation import OnEvent
from ..process.request import Request
from ..recipes.convert import ConvertRecipe
from .convert_front import Ends, begin_at, bound, without_ends


@dataclass(frozen=True)
class ConvertReport(Request):
    """What a conversion has to say of the model and the samples.

    Attributes:
        flavour: Who made the model, such as ``keras3``.
        trained_ranges: Whether it carries its ranges itself, from a training for int8.
        warnings: What was done another way, or looks odd.
        seconds: Stage -> how long it took, in seconds.
        calibration: `count`, `seed`, `source` and `hashes` of the samples; None where none were needed.
        preparation: How they were prepared, "" for not at all.
        images: The same of a folder of images, field by field, with its classes; None for other samples.
        backend: Name of the converter; "" before it ran.
        flags: The converter's settings, by the names that its users know.
        fidelity: How near the file's outputs are to the model's, as `Fidelity.to_dict` says; None where it was not
            measured.
        ranges: How the ranges were found (`asked`, `used`, `why`, and what was compared); None where none were.
        repairs: What was repaired in the graph: `kind`, `layers`, `detail`.
        recovery: What was put right without training, as `Recovered.to_dict` says; None where that was not asked for.
        ends: At which ends (``input``, ``output``) operators stayed float.
        selective: Which operators stayed float on request, as `Selection.to_dict` says; None where none were asked.
        front: What is to be done in front of the file, as `Cut.front` says; None where it takes the model's inputs.
        back: What makes the model's outputs of the file's, as `Cut.behind` says; None where these are the model's.
        sensitivity: What each operator costs, as `SensitivityReport` has it; None where that was not asked.
        onnx: Of an .onnx file, what `edgeopt.converters.onnx.OnnxFile.facts` says; None for a .tflite file.
    """

    flavour: str
    trained_ranges: bool
    warnings: Sequence[str]
    seconds: Mapping[str, float]
    calibration: Mapping[str, object] | None
    preparation: str
    images: Mapping[str, Any] | None = None
    backend: str = ""
    flags: Mapping[str, object] = field(default_factory=dict)
    fidelity: Mapping[str, Any] | None = None
    ranges: Mapping[str, object] | None = None
    repairs: Sequence[Mapping[str, object]] = ()
    recovery: Mapping[str, Any] | None = None
    ends: Sequence[str] = ()
    selective: Mapping[str, Any] | None = None
    sensitivity: Mapping[str, Any] | None = None
    front: Mapping[str, Any] | None = None
    back: Mapping[str, Any] | None = None
    onnx: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Prepared:
    """An exported model with its calibration samples, and what is to be reported of both.

    Attributes:
        lean: The exported model.
        samples: Input name -> samples that make the ranges; None where none are needed.
        held_back: Input name -> other samples, to compare the file with the model on; None where there are none.
        report: What preparing them has to say.
    """

    lean: LeanModel
    samples: Mapping[str, Array] | None
    held_back: Mapping[str, Array] | None
    report: ConvertReport


def choose(recipe: ConvertRecipe, calibration: Any, *, trained: bool = False) -> Chosen | None:
    """Read and check the calibration data; None where none are needed, and none were given to compare outputs on.

    Args:
        recipe: What is asked for.
        calibration: Whatever `edgeopt.data.load_dataset` takes, or None.
        trained: Whether the model carries its ranges itself, so that the samples make none.

    Raises:
        DataError: There are none although they are needed, or they cannot be used.
    """
    needed = recipe.needs_calibration and not trained
    if calibration is None and needed:
        raise DataError(
            f"quantize={recipe.quantize!r} needs calibration data, which was not given; pass --calibration DATA "
            "(a few hundred real samples), or --quantize dynamic, which needs none."
        )
    if calibration is None or not (needed or recipe.fidelity):
        return None
    chosen = calibration_set(
        calibration,
        recipe.calibration_samples if needed else HELD_BACK,
        recipe.seed,
        image_size=recipe.image_size,
        image_scaling=recipe.image_scaling,
        image_resize=recipe.image_resize,
    )
    return chosen if needed else replace(chosen, warnings=(), held_back=None)


def prepare(
    load: Callable[[], LoadedModel],
    recipe: ConvertRecipe,
    choose_data: Callable[[], Chosen | None],
    folder: Path,
    emit: OnEvent,
) -> Prepared:
    """Check the data, load the model, bind one to the other, and export the model to `folder`.

    Args:
        load: Gives the model; called after the data have been found good, because it may take long.
        recipe: What is asked for.
        choose_data: Gives the calibration samples.
        folder: Where the lean SavedModel goes.
        emit: Told which stage begins, and the model's layers.

    Raises:
        EdgeoptError: The data, the model, or the two together do not do.
    """
    seconds: dict[str, float] = {}
    with stage("data", seconds, emit):
        chosen = choose_data()
    with stage("load", seconds, emit):
        model = load()
        ends: Ends | None = None
        notes: list[str] = []
        if recipe.from_layer:
            model, ends = begin_at(model, recipe.from_layer)
        elif recipe.edges == "prepared":
            given = None if chosen is None or carries_ranges(model.layers) else chosen.data
            model, ends, notes = without_ends(model, given)
    emit({"layers": model.layers})
    if is_binary(model.layers):
        check_binary(recipe)
    inputs = fix_shapes(model.spec, recipe.input_shapes, None if recipe.dynamic_batch else recipe.batch_size)
    refuse_strings(model, inputs)
    warnings = [*model.warnings, *notes, *_batch_warnings(inputs, recipe)]
    trained = carries_ranges(model.layers)
    samples = held_back = None
    if chosen is not None:
        bind = bound if ends is None else ends.samples
        samples = bind(chosen.data, inputs)
        held_back = None if chosen.held_back is None else bind(chosen.held_back, inputs)
        check_fit(samples, {item.name: item.dtype for item in inputs}, chosen.data.source)
        warnings += [*chosen.warnings, *range_warnings(samples, input_expectations(model))]
    with stage("export", seconds, emit):
        lean = export_lean(model, inputs, folder, activations=recipe.activations)
    emit({"loops": lean.loops})
    if trained or not recipe.needs_calibration:
        samples, held_back = None, samples  # they make no ranges
    report = ConvertReport(
        flavour=model.flavour.value,
        trained_ranges=trained,
        warnings=[*warnings, *lean.warnings, *([] if ends is None else ends.warnings())],
        seconds=seconds,
        calibration=None if chosen is None or samples is None else _calibration_report(recipe, chosen, samples),
        preparation="" if chosen is None else chosen.data.note,
        images=None if chosen is None else chosen.data.image_record(inputs[0].shape),
        front=None if ends is None else ends.front(),
        back=None if ends is None else ends.cut.behind(),
    )
    return Prepared(lean, samples, held_back, report)


def check_trained(recipe: ConvertRecipe) -> None:
    """Raise unless a model that was trained for int8 is to become int8.

    Raises:
        RecipeError: Another quantisation is asked for.
    """
    if recipe.activations != "int8":
        raise RecipeError(
            f"Received quantize={recipe.quantize!r} for a model that was trained for int8; use quantize='int8' (int8w4 "
            "for 4-bit weights), or convert the float model that the training returned beside it."
        )


def check_binary(recipe: ConvertRecipe) -> None:
    """Raise unless a model with binary layers is to stay float around them, and what converts it is there.

    Raises:
        RecipeError: Another quantisation is asked for.
        ConversionError: The converter is not installed.
    """
    from ..converters.binary.larq import require_engine

    if recipe.quantize != "float32":
        raise RecipeError(
            f"Received quantize={recipe.quantize!r} for a model with Larq's binary layers, whose other layers stay "
            "float; use quantize='float32'."
        )
    if recipe.is_onnx:
        raise RecipeError(f"to={recipe.to!r} has no binary layers, and the model has Larq's; leave it out.")
    require_engine()


def check_tools(recipe: ConvertRecipe) -> None:
    """Raise before anything slow where a library is missing that a model without ranges of its own needs.

    Raises:
        ConversionError: It is not installed.
    """
    if recipe.low_bit:
        from ..converters.lowbit.litert import require_litert

        require_litert()


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


def _batch_warnings(inputs: Sequence[InputSpec], recipe: ConvertRecipe) -> list[str]:
    """Say where the file's batch dimension is not the one asked for."""
    asked = None if recipe.dynamic_batch else recipe.batch_size
    return [
        f"batch: input {item.name!r} has the batch dimension {item.shape[0]}, as the model or --input-shape states"
        for item in inputs
        if item.shape and item.shape[0] != asked
    ]


def _calibration_report(recipe: ConvertRecipe, chosen: Chosen, samples: Mapping[str, Array]) -> dict[str, object]:
    hashes = sample_hashes(list(samples.values()))
    return {"count": chosen.data.count, "seed": recipe.seed, "source": chosen.data.source, "hashes": hashes}


@contextmanager
def stage(name: str, seconds: dict[str, float], emit: OnEvent) -> Iterator[None]:
    """Tell that a stage begins, and keep how long it took."""
    emit({"stage": name})
    started = time.monotonic()
    yield
    seconds[name] = time.monotonic() - started
