"""``edgeopt.convert``: a Keras model becomes a .tflite file that is what it claims to be."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifact.artifact import Artifact
from ..artifact.provenance import model_fingerprint, tool_versions
from ..artifact.scratch import scratch_folder
from ..errors import ConversionError, RecipeError
from ..evaluation.classes import fits_output
from ..onnxfile import require_onnx
from ..process.isolation import ChildCrash, Event, OnEvent, run_isolated
from ..recipes.convert import ConvertRecipe
from ..recipes.values import type_name
from .convert_verify import describe_file, describe_onnx, edge_rows, verify

if TYPE_CHECKING:
    from ..models.spec import LoadedModel
    from .convert_job import FileJob, LeanJob
    from .convert_prepare import ConvertReport
    from .study import Study

_ALIASES = {"inference_input_type": "input_type", "inference_output_type": "output_type"}
_TYPES = ("input_type", "output_type")
_SUSPECTS = ("RNN", "LSTM", "GRU", "Bidirectional", "ConvLSTM")


def convert(
    model: Any,
    *,
    calibration: Any = None,
    recipe: ConvertRecipe | None = None,
    data: Any = None,
    metric: str = "accuracy",
    output_name: str | None = None,
    custom_objects: Sequence[str] = (),
    unsafe_load: bool = False,
    isolate: bool = True,
    work: str | os.PathLike[str] | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Artifact:
    """Convert a Keras model to TFLite; by default full int8, static batch 1, int8 inputs and outputs.

    Args:
        model: A ``keras.Model``, a ``tf_keras.Model``, or the path of a .keras or .h5 file or a SavedModel folder.
        calibration: Samples for int8, int8w4 and int16x8 (none for a model that was trained quantised): an ndarray, a
            dict by input name, a ``tf.data.Dataset``, a ``representative_dataset`` callable, or a path (.npz, .npy, a
            folder of images, ``module:callable``).
        recipe: All settings at once; `options` change single ones.
        data: Samples with labels that `max_drop` is measured on, to choose the operators that stay float; validate on
            others.
        metric: "accuracy", "top5", "auc", "mae", "mse" or ``module:callable``, for `max_drop`.
        output_name: Name of the output that is scored, for a model with several.
        custom_objects: ``module:NAME`` for what a model file needs.
        unsafe_load: Allow Python code stored in a model file to run.
        isolate: Convert in a child process, so that a crash of the calibrator is an error here.
        work: Folder that keeps the finished steps of ``recover=True``, so that the same call goes on behind them if it
            was interrupted; what is kept is deleted at the end. None keeps nothing.
        on_event: Called with {``stage``: name} as the work goes on.
        **options: Fields of `edgeopt.recipes.convert.ConvertRecipe`, such as ``quantize="int8"``,
            ``calibration_samples=200``, ``seed=0``,
            ``input_type="uint8"`` (or ``inference_input_type=tf.uint8``), ``per_tensor_dense=True``.

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
    settings = settings_of(recipe, options)
    if settings.is_onnx:
        require_onnx()
    if (settings.max_drop is None) != (data is None):
        raise RecipeError("max_drop and the labelled samples it is measured on (data, --data) go together; give both.")

    def ask(folder: Path) -> Study:
        from .study import Labelled, Study

        labelled = None if data is None else Labelled.write(data, metric, output_name, folder)
        return Study(labelled=labelled, work=None if work is None else os.path.abspath(work))

    loading = Loading(tuple(custom_objects), unsafe_load)
    made = run_conversion(model, calibration, settings, loading, ask=ask, isolate=isolate, on_event=on_event)
    file, report, progress = made.data, made.report, made.progress
    if report.front is not None or report.back is not None:
        from ..converters.rewrite import marked
        from ..devices.agent.sidecar import MARK

        file = marked(file, MARK)  # the agent by hand shall not take it for a file of the model's own ends
    read_back = time.monotonic()
    kept = report.selective["kept"] if report.selective is not None else ()
    warnings = [*report.warnings, *verify(file, settings, progress.layers, report.ends, kept)]
    if calibration is not None and (report.trained_ranges or not settings.needs_calibration):
        why = "a model that was trained quantised" if report.trained_ranges else f"quantize={settings.quantize!r}"
        use = "; the file was compared with the model on them" if report.fidelity else ""
        warnings.append(f"unused: the calibration data were not needed for {why}{use}")
    description = {**describe_file(file, settings), **(describe_onnx(made.onnx) if made.onnx is not None else {})}
    outputs: Any = description["outputs"]
    images = _image_record(report.images, outputs, warnings)
    sidecar = {
        "format": settings.to,
        **description,
        "onnx": report.onnx,
        "calibration": report.calibration,
        "images": images,
        "front": report.front,
        "back": report.back,
        "preprocess": "; ".join(note for note in (report.preparation, settings.preprocess) if note),
        "ranges": report.ranges,
        "repairs": list(report.repairs),
        "recovery": report.recovery,
        "edges": edge_rows(file, report.ends, progress.layers),
        "selective": report.selective,
        "fidelity": report.fidelity,
        "warnings": warnings,
        "seconds": {
            "start": made.start,
            **report.seconds,
            "check": time.monotonic() - read_back,
            "total": time.monotonic() - started,
        },
        "recipe": settings.to_dict(),
        "source_model": {**made.source, "flavour": report.flavour},
        "converter": {"name": report.backend, "flags": dict(report.flags)},
        "tools": tool_versions(),
    }
    if work is not None:
        from ..converters.recover.kept import forget_steps

        forget_steps(Path(work))
    return Artifact(file if made.onnx is None else made.onnx, sidecar)


@dataclass(frozen=True)
class Loading:
    """How a model file is loaded: ``module:NAME`` for what it needs, and whether Python code in it may run."""

    custom_objects: tuple[str, ...] = ()
    unsafe_load: bool = False


@dataclass(frozen=True)
class Conversion:
    """What a conversion left.

    Attributes:
        data: The file.
        report: What there is to say of it.
        source: The model that it was made from.
        progress: What was heard on the way.
        start: How long the child took to start, in seconds.
        onnx: The .onnx file that was made of it; None where none was asked for.
    """

    data: bytes = field(repr=False)
    report: ConvertReport
    source: Mapping[str, object]
    progress: _Progress
    start: float
    onnx: bytes | None = field(default=None, repr=False)


def run_conversion(
    model: Any,
    calibration: Any,
    settings: ConvertRecipe,
    loading: Loading,
    *,
    ask: Callable[[Path], Study] | None = None,
    isolate: bool = True,
    on_event: OnEvent | None = None,
) -> Conversion:
    """Convert, without a look at what came out; see `convert`.

    Args:
        model: As `convert` takes it.
        calibration: As `convert` takes it.
        settings: What is asked for.
        loading: How a model file is loaded.
        ask: Says what else is asked, given the folder that files for the child may lie in.
        isolate: In a child process.
        on_event: Told how far it is.
    """
    from .convert_job import MODEL_FILE, ONNX_FILE
    from .study import NOTHING

    progress = _Progress(on_event or (lambda event: None))
    with scratch_folder("convert") as folder:
        study = NOTHING if ask is None else ask(folder)
        if isinstance(model, (str, os.PathLike)):
            path = os.fspath(model)
            job: FileJob | LeanJob = _file_job(path, loading, calibration, settings, folder, study)
            source = {"path": path, "sha256": model_fingerprint(path)}
        else:
            loaded = _described(model, settings)
            job = _lean_job(loaded, calibration, settings, folder, study, progress)
            source = {"path": None, "name": loaded.source, "sha256": None}
        begun, progress.heard = time.monotonic(), None
        report = _isolated(job, progress) if isolate else job.run(progress)
        start = (progress.heard or begun) - begun
        onnx = (folder / ONNX_FILE).read_bytes() if report.onnx is not None else None
        return Conversion((folder / MODEL_FILE).read_bytes(), report, source, progress, start, onnx)


def _image_record(images: Mapping[str, Any] | None, outputs: Any, warnings: list[str]) -> dict[str, Any] | None:
    """Return how calibration images were prepared; without the classes where they are not those of the output."""
    if images is None:
        return None
    classes = images["classes"]
    if classes and (len(outputs) != 1 or not fits_output(classes, outputs[0]["signature"])):
        warnings.append(
            f"classes: the calibration folder has {len(classes)} classes, which are not those of the file's outputs; "
            "their names are not kept"
        )
        classes = []
    return {**images, "classes": classes}


class _Progress:
    """Passes events on, and keeps what they say of the stage and the model's layers."""

    def __init__(self, on_event: OnEvent) -> None:
        self.layers: list[tuple[str, str]] = []
        self.loops: list[str] = []
        self.stage = "start"
        self.heard: float | None = None  # when the first event came; to be set to None before what is to be timed
        self._on_event = on_event

    def __call__(self, event: Event) -> None:
        self.heard = self.heard or time.monotonic()
        self.layers = event.get("layers", self.layers)
        self.loops = event.get("loops", self.loops)
        self.stage = event.get("stage", self.stage)
        self._on_event(event)


def settings_of(recipe: ConvertRecipe | None, options: Mapping[str, Any]) -> ConvertRecipe:
    """Return a recipe with single settings changed."""
    renamed = {_ALIASES.get(key, key): value for key, value in options.items()}
    if len(renamed) != len(options):
        raise RecipeError("input_type and inference_input_type (or output) were both given; give one of them.")
    for key in renamed.keys() & set(_TYPES):
        renamed[key] = type_name(renamed[key])
    base = {} if recipe is None else recipe.to_dict()
    return ConvertRecipe.from_dict({**base, **renamed})


def _file_job(
    path: str, loading: Loading, calibration: Any, recipe: ConvertRecipe, folder: Path, study: Study
) -> FileJob:
    """Fail in milliseconds on what needs no TensorFlow to be seen; the rest is for the child."""
    from ..data.dataset import check_named
    from ..models.detect import detect, wrappers_in
    from ..models.larq import is_in_file
    from .convert_job import FileJob
    from .convert_prepare import check_binary, check_tools, check_trained, choose
    from .written import WrittenChosen

    file = detect(path)
    maker = wrappers_in(file.config_text)
    if is_in_file(file.config_text):
        check_binary(recipe)
    elif maker:
        check_trained(recipe)
    else:
        check_tools(recipe)
    in_memory = calibration is not None and not isinstance(calibration, (str, os.PathLike))
    chosen = None
    if in_memory or calibration is None:
        found = choose(recipe, calibration, trained=bool(maker))
        chosen = None if found is None else WrittenChosen.write(found, folder)
    data = None if calibration is None or in_memory else os.fspath(calibration)
    if data is not None:
        check_named(data)
    return FileJob(recipe, folder, file, loading.custom_objects, loading.unsafe_load, maker, data, chosen, study)


def _described(model: Any, recipe: ConvertRecipe) -> LoadedModel:
    from ..models.load import describe

    return describe(model, input_names=list(recipe.input_shapes))


def _lean_job(
    loaded: LoadedModel, calibration: Any, recipe: ConvertRecipe, folder: Path, study: Study, progress: _Progress
) -> LeanJob:
    """Export here; the child converts the lean SavedModel."""
    from ..models.detect import carries_ranges
    from .convert_job import LeanJob
    from .convert_prepare import check_tools, check_trained, choose, prepare

    trained = carries_ranges(loaded.layers)
    if trained:
        check_trained(recipe)
    else:
        check_tools(recipe)
    prepared = prepare(
        lambda: loaded, recipe, lambda: choose(recipe, calibration, trained=trained), folder / "lean", progress
    )
    return LeanJob.of(prepared, recipe, folder, study)


def _isolated(job: FileJob | LeanJob, progress: _Progress) -> ConvertReport:
    """Run a job in a child process."""
    from .convert_prepare import ConvertReport

    try:
        reply = run_isolated(job.target, job.to_dict(), progress, modules=job.modules)
    except ChildCrash as crash:
        raise _crash_error(crash, progress) from crash
    return ConvertReport.from_dict(reply)


def _crash_error(crash: ChildCrash, progress: _Progress) -> ConversionError:
    """Name the layers that a crash of the converter points to: those with loops in the graph, else recurrent ones."""
    kinds = dict(progress.layers)
    recurrent = [name for name, kind in progress.layers if any(word in kind for word in _SUSPECTS)]
    named = [f"{name!r} ({kinds[name]})" if name in kinds else repr(name) for name in progress.loops or recurrent]
    how = f"was killed by {crash.signal_name}" if crash.signal_name else "ended without a result"
    hint = f"suspect layer(s): {', '.join(named[:5])}" if named else "no layer is known to crash it"
    memory = " (out of memory?)" if crash.signal_name == "SIGKILL" else ""
    instead = "replace the layer" if progress.layers else "convert the .keras or .h5 file of the model instead"
    tail = crash.tail.strip().splitlines()[-1:] if not crash.signal_name else []
    detail = f"; it last said: {tail[0][:200]}" if tail else ""
    return ConversionError(
        f"TensorFlow's converter {how}{memory} in the stage {progress.stage!r}; {hint}{detail}; "
        f"{instead}, or convert with --quantize dynamic or float16."
    )
