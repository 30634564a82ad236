"""The demo: train small, convert, prune and train quantised, validate each file on the local device, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..artifact.artifact import Artifact
from ..errors import ConversionError, OutputError, UsageError, nearest
from ..process.isolation import ChildCrash, run_isolated

# A row each: the name of its file -> what the table calls it.
VARIANTS = {
    "float32": "float32",
    "float16": "float16",
    "dynamic": "dynamic",
    "int8": "int8",
    "int8_qat": "int8, QAT",
    "int8_prune50_qat": "int8, prune 50 % + QAT",
}
DATASETS = ("digits", "watch")


def demo(
    folder: str | Path,
    *,
    dataset: str = "digits",
    seed: int = 0,
    force: bool = False,
    on_step: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train on data that an installed package carries, and compare files of the model on this machine.

    The files are float32, float16, dynamic-range and int8 by calibration, int8 after quantisation-aware training, and
    int8 after pruning to 50 % and quantisation-aware training that keeps the zeros.

    Args:
        folder: Where the model, the data, the files and their reports go.
        dataset: "digits" (scikit-learn) or "watch" (seglearn).
        seed: Of the training.
        force: Use the folder although it is not empty.
        on_step: Told what is being done.

    Returns:
        ``dataset``, ``train``, ``test`` (numbers of samples), ``parameters``, and a row a file: ``variant``,
        ``quantize``, ``file``, ``size_bytes``, ``gzip_bytes``, ``sparsity`` (fraction of zeros in the file's kernels),
        ``epochs`` (of training in all), ``fully_int8``, ``accuracy``, ``accuracy_ci95``, ``latency_ms``,
        ``kernel_profile``.

    Raises:
        UsageError: An unknown data set, or one whose package is not installed.
        OutputError: The folder is not empty, or cannot be written.
    """
    from .validate import validate

    step = on_step or (lambda text: None)
    target = _prepare_folder(folder, dataset, force)
    facts = _make_files(target, dataset, seed, step)
    epochs = facts.pop("epochs")
    rows = []
    for variant, title in VARIANTS.items():
        step(f"validating {title}")
        file = target / f"{dataset}_{variant}.tflite"
        report = validate(str(file), data=str(target / "test.npz"))
        rows.append(_row(title, Artifact.load(file), file, report.to_dict()) | {"epochs": epochs[variant]})
    return {"dataset": dataset, **facts, "folder": str(target), "rows": rows}


def _prepare_folder(folder: str | Path, dataset: str, force: bool) -> Path:
    if dataset not in DATASETS:
        raise UsageError(f"Unknown demo data set {dataset!r}{nearest(dataset, DATASETS)}")
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make the folder {target}: {error.strerror}; choose another with -o.") from error
    if any(target.iterdir()) and not force:
        raise OutputError(
            f"The folder {target} is not empty; pass --force to write into it, or choose another with -o."
        )
    return target


def _make_files(target: Path, dataset: str, seed: int, step: Callable[[str], None]) -> dict[str, Any]:
    request = {"dataset": dataset, "seed": seed, "folder": str(target)}
    try:
        return dict(
            run_isolated(
                "edgeopt.api.demo_training:make_files", request, lambda event: step(str(event.get("step", "")))
            )
        )
    except ChildCrash as crash:
        how = crash.signal_name or crash.tail[-200:]
        raise ConversionError(f"The process that trains and converts ended without a result ({how}).") from crash


def _row(variant: str, artifact: Artifact, file: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    from .optimize.workbench import zero_share

    sidecar = artifact.sidecar
    return {
        "variant": variant,
        "quantize": sidecar["quantize"],
        "file": file.name,
        "size_bytes": sidecar["size_bytes"],
        "gzip_bytes": sidecar["gzip_bytes"],
        "sparsity": zero_share(artifact.model),
        "fully_int8": sidecar["fully_int8"],
        "accuracy": report["accuracy"],
        "accuracy_ci95": report["accuracy_ci95"],
        "latency_ms": report["latency_ms"],
        "kernel_profile": report["kernel_profile"],
    }
