"""The workflows of ``edgeopt edgetpu``: compile, list a pipeline's parts, compare a file with its compiled form."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..artifact.atomic import refuse_to_overwrite, write_atomically
from ..artifact.envelope import envelope
from ..converters.accelerator import CompiledFile, Prediction
from ..converters.edgetpu.compiler import EdgeTpuCompiler
from ..converters.edgetpu.diff import CompiledDiff, diff
from ..converters.edgetpu.predict import EdgeTpuPredictor
from ..converters.edgetpu.segments import Segment, problems, read_segment
from ..errors import CheckError, UsageError
from ..flatbuffer import load_model, read_file, read_model

LOG_SUFFIX = ".log"


@dataclass(frozen=True)
class Compilation:
    """One compiled file, where it was written, and what had been predicted of it.

    Attributes:
        path: The compiled file.
        log_path: The compiler's log beside it.
        file: What the compiler made.
        predicted: What edgeopt had predicted; None for the parts of a pipeline.
    """

    path: Path
    log_path: Path
    file: CompiledFile
    predicted: Prediction | None = None

    @property
    def as_predicted(self) -> bool | None:
        """Whether exactly the predicted operators stayed on the CPU; None where there was no clear prediction."""
        if self.predicted is None or self.predicted.unsure_ops:
            return None
        return self.predicted.cpu_ops == dict(self.file.cpu_ops)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON holds them."""
        predicted = None if self.predicted is None else self.predicted.cpu_ops
        return {
            "path": str(self.path),
            "log_path": str(self.log_path),
            **self.file.to_dict(),
            "predicted_cpu_ops": predicted,
            "as_predicted": self.as_predicted,
        }


def compile_files(
    models: Sequence[str | os.PathLike[str]],
    *,
    out_dir: str | os.PathLike[str] | None = None,
    force: bool = False,
    **options: Any,
) -> tuple[Compilation, ...]:
    """Compile .tflite files for the Edge TPU; several are co-compiled, to share the chip's memory.

    ``x.tflite`` becomes ``x_edgetpu.tflite`` with ``x_edgetpu.log`` beside it. Nothing is written unless all succeed.

    Args:
        models: Paths of full-integer .tflite files.
        out_dir: Where to write; None writes each beside its source.
        force: Replace what is there.
        **options: Fields of `EdgeTpuCompiler`: ``minimum_runtime``, ``segments``, ``timeout_s``, ...

    Raises:
        UsageError: A path cannot be read, is compiled already, or an output exists (OutputError).
        ModelError: The compiler refuses a model, or maps none of its operators.
        CompilerError: The compiler is missing (exit code 6), crashed, hung, or left no usable file.

    Example:
        >>> compile_files(["model_int8.tflite"])[0].file.cpu_ops
        {}
    """
    compiler = EdgeTpuCompiler(**options)
    sources = _sources(models)
    folders = {stem: Path(out_dir) if out_dir is not None else path.parent for stem, path in sources.items()}
    for stem, folder in folders.items():
        for name in compiler.output_names(stem):
            _check_free(folder / name, force)
    data = {stem: read_file(path) for stem, path in sources.items()}
    made = compiler.compile_together(data)
    stems = [stem for stem in sources for _ in compiler.output_names(stem)]
    results = [_compilation(compiler, folders[stem], file, data[stem]) for stem, file in zip(stems, made, strict=True)]
    for result in results:  # the log first: a compiled file is never there without it
        write_atomically(result.log_path, result.file.log.encode())
        write_atomically(result.path, result.file.model)
    return tuple(results)


def _compilation(compiler: EdgeTpuCompiler, folder: Path, file: CompiledFile, source: bytes) -> Compilation:
    """Return one result with what was predicted of it, where the whole file was compiled."""
    path = folder / file.name
    predicted = None
    if compiler.segments == 1 and not compiler.search_delegate:
        ends = compiler.intermediate_tensors
        predictor = EdgeTpuPredictor(minimum_runtime=compiler.minimum_runtime, intermediate_tensors=ends)
        predicted = predictor.predict(read_model(source), source)
    return Compilation(path, path.with_suffix(LOG_SUFFIX), file, predicted)


def _sources(models: Sequence[str | os.PathLike[str]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for model in models:
        path = Path(model)
        if path.stem in found:
            raise UsageError(f"{found[path.stem]} and {path} would both become {path.stem}_edgetpu.tflite; rename one.")
        found[path.stem] = path
    if not found:
        raise UsageError("Received no model, expected at least one .tflite file.")
    return found


def _check_free(path: Path, force: bool) -> None:
    refuse_to_overwrite(path, force)
    refuse_to_overwrite(path.with_suffix(LOG_SUFFIX), force)


@dataclass(frozen=True)
class Pipeline:
    """The parts of a model for a pipeline of Edge TPUs, in order.

    Attributes:
        segments: The parts.
        problems: What keeps them from being a pipeline, as sentences.
    """

    segments: tuple[Segment, ...]
    problems: tuple[str, ...]

    def raise_if_broken(self) -> None:
        """Raise when the parts do not fit.

        Raises:
            CheckError: They do not; the first problem is named.
        """
        if self.problems:
            more = f" (and {len(self.problems) - 1} more problems)" if len(self.problems) > 1 else ""
            raise CheckError(f"The parts are no pipeline: {self.problems[0]}{more}; compile them together again.")

    def to_dict(self) -> dict[str, Any]:
        """Return the pipeline in the JSON envelope."""
        fields = {"segments": [part.to_dict() for part in self.segments], "problems": list(self.problems)}
        return envelope("edgetpu-segments", "failed" if self.problems else "ok", fields)


def segments(files: Sequence[str | os.PathLike[str]]) -> Pipeline:
    """Read the parts of a pipeline and check that the outputs of each are the inputs of the next.

    Args:
        files: The parts, in order.

    Raises:
        UsageError: A file cannot be read, or fewer than two are given.
        FileFormatError: One is corrupt.
    """
    if len(files) < 2:
        raise UsageError(f"Received {len(files)} file, expected the parts of a pipeline: two or more, in order.")
    parts = tuple(read_segment(load_model(file), os.path.basename(os.fspath(file))) for file in files)
    return Pipeline(parts, problems(parts))


@dataclass(frozen=True)
class Comparison:
    """A model and its compiled form, and what had been predicted.

    Attributes:
        plain: The model's path.
        compiled: The compiled file's path.
        changes: What moved and what stayed.
        predicted: What edgeopt predicts of the plain file.
    """

    plain: str
    compiled: str
    changes: CompiledDiff = field(repr=False)
    predicted: Prediction = field(repr=False)

    @property
    def as_predicted(self) -> bool:
        """Whether exactly the predicted operators stayed on the CPU, and none was doubtful."""
        return self.predicted.cpu_ops == self.changes.stayed and not self.predicted.unsure_ops

    @property
    def reasons(self) -> Mapping[int, str]:
        """Why each operator that stayed did, by its index in the plain file, where the prediction knows."""
        return {found.index: found.why for found in self.predicted.operators if found.why}

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison in the JSON envelope."""
        left = self.changes.stayed_operators
        fields = {
            "plain": self.plain,
            "compiled": self.compiled,
            **self.changes.to_dict(),
            "stayed_operators": [{"index": at, "op": op, "why": self.reasons.get(at, "")} for at, op in left],
            "as_predicted": self.as_predicted,
            "predicted_cpu_ops": self.predicted.cpu_ops,
        }
        return envelope("edgetpu-diff", "ok", fields)


def compare_compiled(plain: str | os.PathLike[str], compiled: str | os.PathLike[str]) -> Comparison:
    """Say what a compilation moved to the Edge TPU and what stayed on the CPU.

    Raises:
        UsageError: A file cannot be read, the first is compiled, the second is not, or they are not the same model.
        FileFormatError: One is corrupt.
    """
    source = load_model(plain)
    changes = diff(source, load_model(compiled))
    return Comparison(os.fspath(plain), os.fspath(compiled), changes, EdgeTpuPredictor().predict(source))
