"""``edgeopt.validate``: what a file really does, measured on the file, on the device."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..data.dataset import Dataset, load_dataset, sample_hashes
from ..evaluation.answers import data_hash
from ..evaluation.budget import Budget
from ..evaluation.classes import check_classes, other_classes
from ..evaluation.fidelity import Fidelity, compare_outputs
from ..evaluation.metrics import Array, Metric, Outputs, check_output, load_metric
from ..evaluation.report import Answers, ValidationReport, build_report
from ..evaluation.scoring import require_labels
from ..flatbuffer.memory import resident_bytes
from .baseline import Baseline, BaselineOutputs, check_baseline, run_baseline, telling
from .binding import Bound, bind
from .devices import open_device
from .pictures import image_options, sidecar_table
from .reading import ModelFile, TFLiteFile, read_any

if TYPE_CHECKING:
    from ..artifact.artifact import Artifact
    from ..artifact.contract import Contract
    from ..devices import BenchPlan, Device, Progress

LOCAL = "local"


def validate(
    artifact: str | os.PathLike[str] | bytes | Artifact,
    *,
    data: Any,
    device: str | Device = LOCAL,
    inventory: str | os.PathLike[str] | None = None,
    runtime: str = "auto",
    threads: int = 1,
    baseline: Any = None,
    metric: str | Callable[[Any, Any], float] = "accuracy",
    output_name: str | None = None,
    budget: Budget | None = None,
    keep: bool = False,
    seed: int = 0,
    bench: BenchPlan | None = None,
    image_size: tuple[int, int] | None = None,
    image_scaling: str | None = None,
    image_resize: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> ValidationReport:
    """Measure accuracy and latency of a .tflite file on a device, in one interpreter set-up, and judge a budget.

    Args:
        artifact: The file, .tflite or .onnx: a path, its bytes, or an `edgeopt.Artifact`. The sidecar, if there is one,
            tells which samples calibrated it.
        data: Samples with labels: whatever `edgeopt.data.load_dataset` takes, such as ``test.npz`` with the arrays
            ``x`` and ``y``, or a tuple ``(x, y)``, where `y` may be a dict by output name or a list in the file's
            order. Real values, as the model takes them; they are prepared and quantised as the file says.
        device: "local", a name of the inventory, or a `edgeopt.devices.Device`, which stays open.
        inventory: The inventory's file; None looks for the project's and the user's.
        runtime: "ai_edge_litert", "tflite_runtime", or "auto": the first of them that loads on the device;
            "onnxruntime" for an .onnx file, which "auto" knows; "larq_compute_engine" for binary layers.
        threads: How many threads one inference may use, 1 by default.
        baseline: What to compare with: a .tflite file, a Keras model, a SavedModel, or a `Baseline` of one.
        metric: "accuracy", "top5", "auc", "mae", "mse", ``module:callable``, or a callable ``(y_true, y_pred)``.
        output_name: Name of the output to be scored, for a file with several.
        budget: Limits to be judged; missing one does not raise here, see `ValidationReport.raise_for_budget`.
        keep: Leave the run's folder, with the outputs, on the device until its next run.
        seed: Seed of the bootstrap that gives the intervals, 0 by default.
        bench: When the timing ends.
        image_size: (height, width), when the data are a folder of images; None takes that of the calibration images,
            which the sidecar knows, or else the first image's.
        image_scaling: What the pixels of a folder of images become; None takes what the sidecar says the file was
            converted with, or else ``0..255``.
        image_resize: How its images are resized: one of `edgeopt.recipes.convert.IMAGE_RESIZES`; None as above, or
            else ``bilinear``.
        on_progress: Called with every sign of life of the data, of the device, and of the baseline.

    Raises:
        UsageError: A bad option or budget; `DataError` for data that do not fit, `FileFormatError` for a corrupt file.
        ModelError: The runtime cannot run the file; `InvokeError` when it, or the baseline, fails in the middle.
        DeviceError: The device failed, or has no runtime.

    Example:
        >>> report = edgeopt.validate("model_int8.tflite", data="test.npz", baseline="model.keras")
        >>> report.to_dict()["accuracy_drop"]
    """
    from ..devices import BenchPlan, RunOptions

    limits, scoring = budget or Budget(), load_metric(metric)
    options = RunOptions(runtime=runtime, threads=threads, keep=keep, bench=bench or BenchPlan())
    limits.require_measurable(
        has_baseline=baseline is not None, higher_is_better=scoring.higher_is_better, metric=scoring.name
    )
    given = baseline if baseline is None or isinstance(baseline, Baseline) else Baseline(baseline)
    other = None if given is None else check_baseline(given)
    file = read_any(artifact)
    found = file.artifact
    tell = telling(on_progress)
    tell({"stage": "samples"})
    dataset = load_dataset(data, **image_options(found, image_size, image_scaling, image_resize))
    if dataset.pictures is not None:
        tell({"stage": "pictures"})
    contract = file.contract
    bound, labels = _bound(file, dataset, contract, scoring, output_name)
    images = dataset.image_record(file.inputs[0].signature)
    tell({"stage": "device"})
    with open_device(device, inventory) as target:
        measured = target.measure(found.model, bound.inputs, options, on_progress=on_progress)
        outputs = contract.joined(measured.real_outputs())
        names, samples = list(outputs), bound.given
        reference = None if given is None else run_baseline(given, other, samples, target, options, names, on_progress)
    hashes = sample_hashes(list(bound.inputs.values()))
    fidelities = {"fidelity": found.fidelity, "baseline_fidelity": _fidelity(file, outputs, reference)}
    answers = Answers(
        labels,
        _scored(outputs, output_name),
        None if reference is None else _scored(reference.outputs, output_name),
        tuple(dataset.class_names or sidecar_table(found, "images").get("classes") or ()),
    )
    return build_report(
        scoring,
        answers,
        measured.to_dict(),
        {
            **_facts(found, file.path, reference, seed),
            "data_sha256": data_hash(hashes, labels),
            "memory_bytes": resident_bytes(file.model) if isinstance(file, TFLiteFile) else None,
            "images": images,
            **{name: None if item is None else item.to_dict() for name, item in fidelities.items()},
        },
        budget=limits,
        seen=_seen(found, hashes),
        warnings=[
            *measured.warnings,
            *other_classes(dataset.class_names, sidecar_table(found, "images").get("classes", ())),
        ],
        seed=seed,
    )


def _bound(
    file: ModelFile, dataset: Dataset, contract: Contract, metric: Metric, output_name: str | None
) -> tuple[Bound, Outputs | None]:
    """Return the samples by input name, and the labels, both checked before anything slow runs."""
    shapes = {spec.name: spec.signature for spec in file.outputs}
    names = list(shapes if contract.back is None else contract.back["outputs"])
    check_output(metric, output_name, names, "file")
    scored = output_name or names[0]
    if metric.of_classes and scored in shapes:
        check_classes(dataset.class_names, shapes[scored], scored, dataset.source)
    return bind(file.inputs, dataset, contract), require_labels(metric, dataset.labels_of(output_name, names))


def _scored(outputs: Mapping[str, Array], output: str | None) -> Outputs:
    """Return the output of that name; the only one; or all by name, for a custom metric."""
    if output is not None:
        return outputs[output]
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs


def _fidelity(file: ModelFile, outputs: Mapping[str, Array], reference: BaselineOutputs | None) -> Fidelity | None:
    """Return how near the outputs are to the baseline's; None without one, or where their shapes differ."""
    if reference is None or any(array.shape != reference.outputs[name].shape for name, array in outputs.items()):
        return None
    scales = {spec.name: spec.scale for spec in file.outputs}  # what is joined of several has none
    return compare_outputs(reference.outputs, outputs, [scales.get(name) for name in outputs], held_back=True)


def _seen(found: Artifact, hashes: list[str]) -> list[bool] | None:
    """Return, for each sample, whether it calibrated the file; None when the sidecar does not tell."""
    calibration = found.sidecar.get("calibration") or {}
    if "hashes" not in calibration:
        return None
    known = frozenset(calibration["hashes"])
    return [digest in known for digest in hashes]


def _facts(found: Artifact, path: str | None, reference: BaselineOutputs | None, seed: int) -> dict[str, object]:
    facts = {"artifact": path, "sha256": found.sha256, "size_bytes": found.size_bytes, "seed": seed}
    return {**facts, "baseline": None if reference is None else dict(reference.facts)}
