"""Google's edgetpu_compiler: found, run with a time limit, its log read, its files checked.

The compiler is proprietary, runs on x86-64 Linux only, and no package registry carries it; so it is optional.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...artifact.scratch import scratch_folder
from ...errors import CompilerError, ConversionError, EdgeoptError, FileFormatError, NotFullyIntegerError, UsageError
from ...flatbuffer import Model, read_model
from ..accelerator import CPU, CompiledFile, OpMapping, histogram
from ..process import Finished, run
from .file_checks import not_quantized
from .log import MAPPED_STATUS, CompilerLog, ModelLog, parse_log
from .package import CUSTOM_OP, packages
from .predict import refuse_compiled

EXECUTABLE = "edgetpu_compiler"
EXECUTABLE_VARIABLE = "EDGEOPT_EDGETPU_COMPILER"
IMAGE_VARIABLE = "EDGEOPT_EDGETPU_IMAGE"
_ENGINES = ("docker", "podman")
HOW_TO_GET = (
    "install it on x86-64 Debian or Ubuntu from Google's package repository (coral.ai/docs/edgetpu/compiler), set "
    f"{EXECUTABLE_VARIABLE} to its path, or {IMAGE_VARIABLE} to the name of a container image that holds it; "
    "--predict-only (edgeopt check --for edgetpu) predicts the result without it"
)


@dataclass(frozen=True)
class EdgeTpuCompiler:
    """Runs edgetpu_compiler.

    Attributes:
        executable: Its path; None looks in EDGEOPT_EDGETPU_COMPILER and then on PATH.
        image: A container image that holds it, run with docker or podman; None looks in EDGEOPT_EDGETPU_IMAGE.
        minimum_runtime: ``--min_runtime_version``: the oldest Edge TPU runtime to support.
        segments: ``--num_segments``: cut the model for a pipeline of that many chips.
        search_delegate: ``--search_delegate``: leave out the last operators until the rest compiles.
        search_step: ``--delegate_search_step``: how many operators more to leave out at each attempt.
        intermediate_tensors: ``--intermediate_tensors``: names of the tensors that the mapped part ends at.
        timeout_s: ``--timeout_sec``, after which the compiler ends itself.
        grace_s: A compiler that does not is ended this much later.

    Example:
        >>> EdgeTpuCompiler(minimum_runtime=13).compile(data, "model")[0].cpu_ops
        {}
    """

    executable: str | None = None
    image: str | None = None
    minimum_runtime: int | None = None
    segments: int = 1
    search_delegate: bool = False
    search_step: int | None = None
    intermediate_tensors: tuple[str, ...] = ()
    timeout_s: int = 180
    grace_s: float = 30
    target: str = "edgetpu"

    def __post_init__(self) -> None:
        for name, value in (("segments", self.segments), ("timeout_s", self.timeout_s)):
            if value < 1:
                raise UsageError(f"{name} is {value}; expected at least 1.")
        if self.minimum_runtime is not None and not 10 <= self.minimum_runtime <= 14:
            raise UsageError(f"minimum_runtime is {self.minimum_runtime}; expected 10 to 14, the released runtimes.")
        if self.search_step is not None and (not self.search_delegate or self.search_step < 1):
            raise UsageError("search_step must be at least 1 and goes with search_delegate; set search_delegate too.")
        if self.intermediate_tensors and self.segments > 1:
            raise UsageError("intermediate_tensors and segments exclude each other; give one of them.")

    def command(self, folder: Path) -> list[str]:
        """Return how the compiler is called for files in `folder`, without its options.

        Raises:
            CompilerError: It is not there; the message says how to get it.
        """
        image = self.image or os.environ.get(IMAGE_VARIABLE)
        if image and not self.executable:
            engine = next(filter(None, map(shutil.which, _ENGINES)), None)
            if engine is None:
                raise CompilerError(f"Neither docker nor podman is on PATH to run the image {image!r}; install one.")
            user = ["--user", f"{os.getuid()}:{os.getgid()}", "--network", "none", "--name", folder.name]
            return [engine, "run", "--rm", *user, "-v", f"{folder}:/work", "-w", "/work", image, EXECUTABLE]
        wanted = self.executable or os.environ.get(EXECUTABLE_VARIABLE) or EXECUTABLE
        found = shutil.which(wanted)
        if found is None:
            raise CompilerError(f"{wanted} was not found; {HOW_TO_GET}.")
        return [found]

    def version(self) -> str:
        """Return the compiler's name and version (see `Compiler.version`)."""
        with scratch_folder("edgetpu") as folder:
            finished = run([*self.command(folder), "--version"], folder, 60)
        found = parse_log(finished.output).version
        if not found:
            said = finished.last_line
            raise CompilerError(f"{EXECUTABLE} --version printed {said!r}, expected its version; reinstall it.")
        return f"{EXECUTABLE} {found}"

    def compile(self, model: bytes, name: str = "model") -> tuple[CompiledFile, ...]:
        """Compile one file (see `Compiler.compile`); several segments come back in pipeline order."""
        return self.compile_together({name: model})

    def compile_together(self, models: Mapping[str, bytes]) -> tuple[CompiledFile, ...]:
        """Co-compile models, so that their parameters share the chip's memory; results in the given order.

        Raises:
            As `Compiler.compile`.
        """
        for name, data in models.items():
            _check_source(read_model(data, name), name)
            if not name or "/" in name or name.startswith("-"):
                raise UsageError(f"Received the model name {name!r}, expected a file name without folder and suffix.")
        if len(models) > 1 and self.segments > 1:
            raise UsageError("Several models cannot be cut into segments together; compile them one by one.")
        with scratch_folder("edgetpu") as folder:
            command = [*self.command(folder), *self.options(list(models))]
            for stem, data in models.items():
                (folder / f"{stem}.tflite").write_bytes(data)
            finished = run(command, folder, self.timeout_s + self.grace_s)
            if finished.timed_out and "--name" in command:  # ending the client leaves the container
                run([command[0], "kill", folder.name], folder, self.grace_s)
            log = parse_log(finished.output)
            _raise_for(finished, log, self.timeout_s)
            names = [name for stem in models for name in self.output_names(stem)]
            return tuple(_collect(folder, name, finished.output, log) for name in names)

    def output_names(self, stem: str) -> list[str]:
        """Return the names of the files that the compiler makes of ``STEM.tflite``."""
        if self.segments == 1:
            return [f"{stem}_edgetpu.tflite"]
        return [f"{stem}_segment_{index}_of_{self.segments}_edgetpu.tflite" for index in range(self.segments)]

    def options(self, stems: Sequence[str]) -> list[str]:
        """Return the compiler's arguments for models of these names."""
        found = ["-s", "-o", ".", "--timeout_sec", str(self.timeout_s)]
        if self.minimum_runtime is not None:
            found += ["--min_runtime_version", str(self.minimum_runtime)]
        if self.segments > 1:
            found += ["--num_segments", str(self.segments)]
        if self.search_delegate:
            found += ["--search_delegate"]
            found += [] if self.search_step is None else ["--delegate_search_step", str(self.search_step)]
        if self.intermediate_tensors:
            found += ["--intermediate_tensors", ",".join(self.intermediate_tensors)]
        return [*found, *(f"{stem}.tflite" for stem in stems)]


def _check_source(model: Model, name: str) -> None:
    """Raise for what the compiler is sure to refuse, and says badly."""
    refuse_compiled(model)
    if not_quantized(model, {}) is not None:
        raise NotFullyIntegerError(
            f"{name} holds no operator that computes on 8-bit integers, expected a full-integer model; convert it with "
            "quantize='int8' and calibration data."
        )


def _raise_for(finished: Finished, log: CompilerLog, timeout_s: int) -> None:
    """Raise the error that the end of the compiler means, if it means one."""
    if finished.timed_out:
        raise CompilerError(
            f"{EXECUTABLE} was still running after its own limit of {timeout_s} s and was ended; raise --timeout, or "
            "try a smaller input."
        )
    if finished.signal_name:
        raise CompilerError(
            f"{EXECUTABLE} was killed by {finished.signal_name} (it last printed {finished.last_line!r}); look for "
            "scales that are not finite with edgeopt check --for edgetpu, and try a smaller input."
        )
    if log.succeeded and finished.returncode == 0:
        return
    raise _refusal(finished, log)


# What a failed compilation is: words in its log -> words of the line to quote as {line}, error, sentence; the most
# telling first.
_FAILURES: tuple[tuple[str, str, type[EdgeoptError], str], ...] = (
    ("could not be parsed", "builtin opcode", ConversionError, "cannot read the model ({line}); it is frozen at "
     "TensorFlow 2.5: see edgeopt check --for edgetpu for the operator and its replacement."),
    ("Didn't find op for builtin opcode", "builtin opcode", ConversionError, "cannot read the model ({line}); it is "
     "frozen at TensorFlow 2.5: see edgeopt check --for edgetpu for the operator and its replacement."),
    ("Model not quantized", "", NotFullyIntegerError, "says that the model is not quantised; convert it to full int8 "
     "with a static batch of 1."),
    ("dynamic-sized tensors", "", NotFullyIntegerError, "says that the model has dynamic tensors; convert it with a "
     "static batch of 1, and without layers whose output shape depends on data."),
    ("Model failed in Tflite interpreter", "ERROR:", ConversionError, "cannot run the model in its own TensorFlow Lite "
     "({line}); convert again with other calibration data, or without the operator that is named."),
    ("large activation tensors", "", ConversionError, "failed because of large activation tensors in the model; use a "
     "smaller input, or --search-delegate to leave the last operators on the CPU."),
    ("Internal compiler error", "", CompilerError, "died of an internal error; try again, for it does not always, then "
     "look for scales that are not finite with edgeopt check --for edgetpu, and try a smaller input."),
)  # fmt: skip


def _refusal(finished: Finished, log: CompilerLog) -> EdgeoptError:
    """Return what a failed compilation is."""
    for words, telling, error, sentence in _FAILURES:
        if log.mentions(words):
            line = next((line for line in log.errors if telling in line), log.errors[-1])
            return error(f"{EXECUTABLE} {sentence.format(line=line.removeprefix('ERROR: '))}")
    if not log.version:
        return CompilerError(
            f"{EXECUTABLE} ended with status {finished.returncode} and printed {finished.last_line!r}, expected a "
            "compiler log; check that it is Google's Edge TPU compiler."
        )
    said = log.errors[-1] if log.errors else finished.last_line
    return CompilerError(f"{EXECUTABLE} {log.version} failed: {said!r}; see edgeopt check --for edgetpu.")


def _collect(folder: Path, name: str, output: str, log: CompilerLog) -> CompiledFile:
    """Read one result, and make sure that it is what the compiler claims."""
    path = folder / name
    if not path.is_file():
        raise CompilerError(f"{EXECUTABLE} reported success, but wrote no {name}; run it by hand and look at its log.")
    data = path.read_bytes()
    try:
        model = read_model(data, name)
        found = packages(model, name)
    except FileFormatError as error:
        raise CompilerError(f"{EXECUTABLE} reported success, but its file is unusable: {error}") from error
    said = next((part for part in log.models if Path(part.output_name).name == name), ModelLog())
    left = histogram(operator.name for operator in model.main.operators if operator.name != CUSTOM_OP)
    if not found:
        raise ConversionError(
            f"{EXECUTABLE} reported success, but mapped none of the {sum(left.values())} operators"
            f"{_first_status(said)}; see edgeopt check --for edgetpu for the reasons."
        )
    return CompiledFile(
        target="edgetpu",
        name=name,
        model=data,
        log=output,
        compiler=f"{EXECUTABLE} {log.version}",
        mapped=said.mapped or max((said.operations or 0) - sum(left.values()), 0),
        cpu_ops=left,
        reasons=_reasons(said, model),
        figures={
            "cached_bytes": sum(package.cached_bytes for package in found),
            "streamed_bytes": sum(package.streamed_bytes for package in found),
            "remaining_bytes": said.remaining_bytes,
            "subgraphs": len(found),
            "operations": said.operations,
            "minimum_runtime": max(package.minimum_runtime for package in found),
            "milliseconds": log.milliseconds,
        },
    )


def _first_status(said: ModelLog) -> str:
    statuses = dict.fromkeys(row.status for row in said.rows if row.status != MAPPED_STATUS)
    return f" ({next(iter(statuses))!r})" if statuses else ""


def _reasons(said: ModelLog, model: Model) -> tuple[OpMapping, ...]:
    """Return the compiler's words on each operator it left; by the compiled file's positions."""
    words = {row.op: row.status for row in said.rows if row.status != MAPPED_STATUS}
    left = [operator for operator in model.main.operators if operator.name != CUSTOM_OP]
    return tuple(
        OpMapping(operator.index, operator.name, CPU, words.get(operator.name, ""), why=words.get(operator.name, ""))
        for operator in left
    )
