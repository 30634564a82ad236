"""The part of a conversion that needs TensorFlow: load, prepare, export, convert. Runs in a child process as a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..data.calibration import Chosen
from ..data.dataset import Array
from ..errors import ConversionError, one_line
from ..evaluation.fidelity import Fidelity
from ..models.detect import Flavour, ModelFile
from ..models.export.export import LeanModel
from ..models.larq import is_in_file
from ..models.spec import InputSpec, LoadedModel
from ..process.isolation import OnEvent
from ..process.request import Request
from ..recipes.convert import ConvertRecipe
from .convert_prepare import ConvertReport, Prepared, choose, prepare, quantized_layers, stage
from .study import NOTHING, Study
from .written import HELD_BACK_FILE, SAMPLES_FILE, WrittenChosen, read_arrays, write_arrays

if TYPE_CHECKING:
    from ..converters.base import ConvertedFile, Converter
    from ..converters.recover.recovery import Recovered
    from ..converters.reference import Run

MODEL_FILE = "model.tflite"
ONNX_FILE = "model.onnx"
_FLOAT_DB = 60.0  # more is rounding
_OTHER_KERNELS_DB = 3.0  # other kernels round otherwise
_NO_XNNPACK = (
    "xnnpack: the runtime's default kernels (XNNPACK) refuse the file, whose scales lie too far apart; it loads with "
    "reference kernels only (--kernels reference)"
)

if TYPE_CHECKING:
    from ..converters.selective import Selection


@dataclass(frozen=True)
class FileJob(Request):
    """The conversion of a model file: all of it happens in the child.

    Attributes:
        recipe: What is asked for.
        folder: Where the .tflite file goes.
        model: The model's file, as it was detected.
        custom_objects: ``module:NAME`` for what it needs.
        unsafe_load: Whether Python code stored in it may run.
        trained_ranges: Who made the quantised layers in it, see `quantized_layers`; "" for none.
        calibration: Path of the samples; None for none, or for samples that are `chosen` already.
        chosen: Samples that lay in memory.
        study: What else is asked.
    """

    recipe: ConvertRecipe
    folder: Path
    model: ModelFile
    custom_objects: Sequence[str]
    unsafe_load: bool
    trained_ranges: str
    calibration: str | None
    chosen: WrittenChosen | None
    study: Study = NOTHING
    target: ClassVar[str] = "edgeopt.api.convert_job:convert_file"

    @property
    def modules(self) -> tuple[str, ...]:
        """What the child imports, where that takes long; nothing where Larq must come first (`edgeopt.models.larq`)."""
        return () if is_in_file(self.model.config_text) else self.model.flavour.modules

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FileJob:
        """Return the job that `to_dict` gave."""
        chosen = None if values["chosen"] is None else WrittenChosen.from_dict(values["chosen"])
        return cls(**{**values, **_common(values), "model": ModelFile.from_dict(values["model"]), "chosen": chosen})

    def run(self, emit: OnEvent) -> ConvertReport:
        """Convert; the .tflite file is in the folder afterwards."""
        prepared = prepare(self._load, self.recipe, self._choose, self.folder / "lean", emit)
        return _convert(prepared, self.recipe, self.study, self.folder, emit)

    def _load(self) -> LoadedModel:
        from ..models.load import load_model

        with quantized_layers(self.trained_ranges):
            return load_model(
                self.model,
                custom_objects=self.custom_objects,
                unsafe_load=self.unsafe_load,
                input_names=list(self.recipe.input_shapes),
            )

    def _choose(self) -> Chosen | None:
        if self.chosen is not None:
            return self.chosen.read()
        return choose(self.recipe, self.calibration, trained=bool(self.trained_ranges))


@dataclass(frozen=True)
class LeanJob(Request):
    """The conversion of a model object, which was exported already: the SavedModel and the samples cross as files.

    Attributes:
        recipe: What is asked for.
        folder: Where the .tflite file goes.
        lean: The exported model.
        samples: The .npz file of the calibration samples, an array an input; None for none.
        held_back: The same of other samples.
        report: What preparing them has to say.
        study: What else is asked.
    """

    recipe: ConvertRecipe
    folder: Path
    lean: LeanModel
    samples: str | None
    held_back: str | None
    report: ConvertReport
    study: Study = NOTHING
    target: ClassVar[str] = "edgeopt.api.convert_job:convert_lean"
    modules: ClassVar[tuple[str, ...]] = Flavour.SAVED_MODEL.modules

    @classmethod
    def of(cls, prepared: Prepared, recipe: ConvertRecipe, folder: Path, study: Study = NOTHING) -> LeanJob:
        """Write the samples to `folder` and return the job."""
        samples, others = (
            None if given is None else write_arrays(folder / name, list(given.values()))
            for given, name in ((prepared.samples, SAMPLES_FILE), (prepared.held_back, HELD_BACK_FILE))
        )
        return cls(recipe, folder, prepared.lean, samples, others, prepared.report, study)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LeanJob:
        """Return the job that `to_dict` gave."""
        lean = values["lean"]
        inputs = tuple(InputSpec(item["name"], tuple(item["shape"]), item["dtype"]) for item in lean["inputs"])
        lean = LeanModel(**{**lean, "folder": Path(lean["folder"]), "inputs": inputs})
        return cls(**{**values, **_common(values), "lean": lean, "report": ConvertReport.from_dict(values["report"])})

    def run(self, emit: OnEvent) -> ConvertReport:
        """Convert; the .tflite file is in the folder afterwards."""
        prepared = Prepared(self.lean, self._by_input(self.samples), self._by_input(self.held_back), self.report)
        return _convert(prepared, self.recipe, self.study, self.folder, emit)

    def _by_input(self, file: str | None) -> dict[str, Array] | None:
        if file is None:
            return None
        return {item.name: array for item, array in zip(self.lean.inputs, read_arrays(file), strict=True)}


def _common(values: Mapping[str, Any]) -> dict[str, object]:
    study = Study.from_dict(values["study"])
    return {"recipe": ConvertRecipe.from_dict(values["recipe"]), "folder": Path(values["folder"]), "study": study}


def convert_file(request: Mapping[str, Any], emit: OnEvent) -> dict[str, object]:
    """Run a `FileJob` (the child's side)."""
    return FileJob.from_dict(request).run(emit).to_dict()


def convert_lean(request: Mapping[str, Any], emit: OnEvent) -> dict[str, object]:
    """Run a `LeanJob` (the child's side)."""
    return LeanJob.from_dict(request).run(emit).to_dict()


def _convert(prepared: Prepared, recipe: ConvertRecipe, study: Study, folder: Path, emit: OnEvent) -> ConvertReport:
    from ..converters.binary.larq import LarqBackend
    from ..converters.binary.running import larq_outputs
    from ..converters.cause import mask_warnings
    from ..converters.comparison import compare_with_model
    from ..converters.outputs import refused_by_xnnpack
    from ..converters.tflite import TFLiteBackend
    from .convert_follow import Following

    following = Following(prepared, recipe, study, emit)
    emit({"stage": "convert"})
    backend: Converter = (
        LarqBackend() if prepared.lean.binary else TFLiteBackend(following if following.asked else None)
    )
    samples, held_back = prepared.samples, prepared.held_back
    converted = backend.convert(prepared.lean, recipe, samples, held_back, _telling(emit))
    seconds = {**prepared.report.seconds, **converted.seconds, **following.seconds}
    seconds["convert"] -= sum(following.seconds.values())
    selection = following.selection
    if selection is None and recipe.float_ops is not None:
        raise ConversionError(_not_selective(prepared.report))
    fidelity = None
    warnings = [*prepared.report.warnings, *converted.warnings, *_range_warnings(recipe, converted.ranges)]
    recovered = (following.recovered or _not_recovered(converted)) if recipe.recover else None
    if recovered is not None:
        converted = replace(converted, calibrated_model=recovered.calibrated or converted.calibrated_model)
        warnings += [f"recover: nothing was tried, because {recovered.why}"] if recovered.why else []
    (folder / MODEL_FILE).write_bytes(converted.model)
    onnx, run = (
        _as_onnx(converted.model, prepared.lean, recipe, folder, seconds, emit) if recipe.is_onnx else (None, None)
    )
    if prepared.lean.binary:
        run = partial(larq_outputs, converted.model)
    if recipe.fidelity and (samples is not None or held_back is not None):
        with stage("fidelity", seconds, emit):
            try:
                fidelity = compare_with_model(converted, prepared.lean, samples, held_back, run)
                if onnx is not None:
                    plain = compare_with_model(converted, prepared.lean, samples, held_back)
                    warnings += _lost_on_the_way(plain, fidelity)
            except (RuntimeError, ValueError) as error:
                warnings.append(f"fidelity: not measured, because the file does not run here ({one_line(error)})")
    if fidelity is not None and not fidelity.holds and not recipe.is_onnx and refused_by_xnnpack(converted.model):
        warnings.append(_NO_XNNPACK)
    if fidelity is None and recipe.needs_calibration:
        warnings += mask_warnings(converted.model, prepared.lean.layer_names)
    return replace(
        prepared.report,
        warnings=[*warnings, *_unreached(selection), *_fidelity_warnings(fidelity, recipe, study)],
        seconds=seconds,
        backend=backend.name,
        flags=converted.flags,
        ranges=converted.ranges,
        repairs=[asdict(repair) for repair in converted.repairs],
        recovery=None if recovered is None else recovered.to_dict(),
        ends=converted.ends,
        fidelity=None if fidelity is None else fidelity.to_dict(),
        selective=None if selection is None else selection.to_dict(),
        sensitivity=following.sensitivity,
        onnx=onnx,
    )


def _as_onnx(
    tflite: bytes, lean: LeanModel, recipe: ConvertRecipe, folder: Path, seconds: dict[str, float], emit: OnEvent
) -> tuple[dict[str, Any], Run]:
    """Write the .onnx form of the file; return what there is to say of it, and what runs it."""
    from ..converters.onnx import export_onnx, onnx_outputs

    with stage("onnx", seconds, emit):
        names = [item.name for item in lean.inputs], lean.output_names
        made = export_onnx(tflite, names, for_tensorrt=recipe.to == "tensorrt")
        (folder / ONNX_FILE).write_bytes(made.model)
    return made.facts, lambda chosen: onnx_outputs(made.model, chosen)


def _lost_on_the_way(tflite: Fidelity, onnx: Fidelity) -> list[str]:
    """Say where the .onnx file is further from the model than the .tflite file that it was made from."""
    if onnx.snr_db >= min(tflite.snr_db, _FLOAT_DB) - _OTHER_KERNELS_DB:
        return []
    return [
        f"onnx: its outputs have {onnx.snr_db:.1f} dB, those of the .tflite file that it was made from "
        f"{tflite.snr_db:.1f} dB; validate it on your own data"
    ]


def _not_recovered(converted: ConvertedFile) -> Recovered:
    from ..converters.recover.recovery import Recovered

    own = converted.reference is None
    return Recovered(b"", "the model holds its ranges itself" if own else "the file does not run here")


def _telling(emit: OnEvent) -> Callable[[int, int], None]:
    """Return what tells how far the calibration is, and that quantising begins behind it."""

    def tell(done: int, total: int) -> None:
        emit({"stage": "calibrate", "done": done, "total": total} if done < total else {"stage": "quantize"})

    return tell


def _not_selective(report: ConvertReport) -> str:
    why = (
        "the model was trained quantised and holds its ranges itself"
        if report.trained_ranges
        else "the int8 file does not run here"
    )
    return f"float_ops chooses operators by what each costs, and cannot, because {why}; drop it."


def _unreached(selection: Selection | None) -> list[str]:
    """Say where no operators left float reached the goal."""
    if selection is None or selection.reached:
        return []
    return [
        f"float-ops: none was left float, because however many are, {selection.goal} was not reached; the best of "
        f"{selection.tried} files had {selection.best:.4g}"
    ]


def _fidelity_warnings(fidelity: Fidelity | None, recipe: ConvertRecipe, study: Study) -> list[str]:
    """Say where the outputs are not the model's, and what tells which operators lose them."""
    found = [] if fidelity is None else fidelity.warnings()
    cause = None if fidelity is None or fidelity.cause is None else fidelity.cause.kind
    if recipe.edges != "prepared" and cause in ("input", "joined"):
        found = [f"{warning}; or let --edges prepared do so, which stays int8 throughout" for warning in found]
    if recipe.quantize == "int8w4" and not recipe.recover:
        return [f"{warning}; --recover rounds 4-bit weights for what comes out of their layers" for warning in found]
    if recipe.quantize != "int8" or study.sensitivity:
        return found
    return [f"{warning}; `edgeopt sensitivity` says what each operator costs" for warning in found]


def _range_warnings(recipe: ConvertRecipe, ranges: Mapping[str, Any] | None) -> list[str]:
    """Warn where other ranges than minimum and maximum were asked for and could not be had."""
    if recipe.ranges in (None, "minmax") or (ranges is not None and (ranges["used"] != "minmax" or ranges["samples"])):
        return []
    why = "the model holds its ranges itself" if ranges is None else ranges["why"]
    kept = "its own" if ranges is None else "minimum and maximum"
    return [f"ranges: {recipe.ranges!r} was asked for, but {why}; {kept} were kept"]
