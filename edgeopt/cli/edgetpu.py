"""``edgeopt edgetpu compile|segments|diff``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError, printable
from .output import console, json_option, next_step, readable_bytes, wants_text
from .paths import FILE, path_argument
from .progress import live

if TYPE_CHECKING:
    from ..api.edgetpu import Comparison, Compilation, Pipeline


@click.group("edgetpu")
def command() -> None:
    """Compile for the Coral Edge TPU, check the parts of a pipeline, see what a compilation moved."""


@command.command("compile")
@path_argument("models", FILE, nargs=-1, required=True, metavar="MODEL.tflite...")
@click.option("-o", "--out-dir", "--out_dir", metavar="FOLDER", help="Where to write; beside the model by default.")
@click.option("-m", "--min-runtime", "--min_runtime_version", "minimum_runtime", type=int, metavar="10..14",
              help="Oldest Edge TPU runtime on the board.")  # fmt: skip
@click.option("-n", "--num-segments", "--num_segments", "segments", type=int, default=1, metavar="N",
              help="Cut the model for a pipeline of N chips.")  # fmt: skip
@click.option("-d", "--search-delegate", "--search_delegate", is_flag=True,
              help="Leave out the last operators until the rest compiles.")  # fmt: skip
@click.option("-k", "--search-step", "--delegate_search_step", "search_step", type=int, metavar="N",
              help="How many operators more to leave out at each attempt.")  # fmt: skip
@click.option("-i", "--intermediate-tensors", "--intermediate_tensors", metavar="NAME,NAME",
              help="Tensors that the mapped part ends at.")  # fmt: skip
@click.option("-t", "--timeout", "--timeout_sec", "timeout_s", type=int, default=180, show_default=True, metavar="S",
              help="When the compiler gives up.")  # fmt: skip
@click.option("--compiler", "executable", metavar="PATH", help="The edgetpu_compiler to run.")
@click.option("--image", metavar="NAME", help="A container image that holds it (docker or podman).")
@click.option("--predict-only", is_flag=True, help="Do not compile; say what would be mapped.")
@click.option("--force", is_flag=True, help="Replace compiled files that exist.")
@json_option
def compile_command(
    models: Sequence[str], out_dir: str | None, predict_only: bool, force: bool, json_path: str | None, **options: Any
) -> None:
    """Compile MODEL.tflite to MODEL_edgetpu.tflite; several models are co-compiled.

    Needs Google's edgetpu_compiler on PATH, in EDGEOPT_EDGETPU_COMPILER, or in a container image.
    """
    from ..artifact.envelope import envelope

    if predict_only:
        _predict(models, options["minimum_runtime"], json_path)
        return
    from ..api.edgetpu import compile_files

    names = (options.pop("intermediate_tensors") or "").split(",")
    options["intermediate_tensors"] = tuple(name for name in names if name)
    with live("compiling for the Edge TPU"):
        results = compile_files(models, out_dir=out_dir, force=force, **options)
    if wants_text(
        lambda: envelope("edgetpu-compile", "ok", {"files": [result.to_dict() for result in results]}), json_path
    ):
        for result in results:
            _print_compiled(result)
        _print_bench(str(results[0].path))


def _predict(models: Sequence[str], minimum_runtime: int | None, json_path: str | None) -> None:
    """Do as ``edgeopt check --for edgetpu`` on each model."""
    from ..artifact.envelope import envelope
    from ..check.model import check_model
    from .check_print import print_report

    with live("predicting") as display:
        reports = [
            check_model(model, target="edgetpu", on_event=display.event, minimum_runtime=minimum_runtime)
            for model in models
        ]
    refused = any(report.refused for report in reports)
    fields = {"predict_only": True, "files": [report.to_dict() for report in reports]}
    if wants_text(lambda: envelope("edgetpu-predict", "failed" if refused else "ok", fields), json_path):
        for report in reports:
            print_report(report)
    for report in reports:
        report.raise_if_refused()
    if json_path != "-":
        next_step("edgetpu", "compile", *models)


def _print_compiled(result: Compilation) -> None:
    out, file = console(), result.file
    out.print(
        f"{result.path}  ({readable_bytes(len(file.model))}; log in {result.log_path})", markup=False, soft_wrap=True
    )
    left = ", ".join(f"{count} {op}" for op, count in file.cpu_ops.items())
    text = f"  {file.mapped} operators mapped, {sum(file.cpu_ops.values())} on the CPU{': ' + left if left else ''}"
    out.print(text, markup=False, soft_wrap=True)
    cached, streamed = (readable_bytes(file.figures[name]) for name in ("cached_bytes", "streamed_bytes"))
    out.print(
        f"  parameters: {cached} cached on the chip, {streamed} streamed; {file.compiler}", markup=False, soft_wrap=True
    )
    for why in dict.fromkeys(f"{reason.op}: {reason.why}" for reason in file.reasons if reason.why):
        out.print(f"  {why}", markup=False, soft_wrap=True)
    if result.as_predicted is False and result.predicted is not None:
        predicted = ", ".join(f"{count} {op}" for op, count in result.predicted.cpu_ops.items()) or "nothing"
        out.print(f"  edgeopt had predicted {predicted} on the CPU; please report the model", style="yellow")


@command.command("segments")
@path_argument("files", FILE, nargs=-1, required=True, metavar="PART.tflite...")
@click.option(
    "--cut", "parts", type=int, metavar="N", help="Cut one whole model into N parts of about equal work first."
)
@click.option("--at", "tensors", multiple=True, metavar="TENSOR",
              help="Cut it behind the operator that writes this; may be repeated.")  # fmt: skip
@click.option("-o", "--out-dir", metavar="FOLDER", help="Where to write the parts; beside the model by default.")
@click.option("--force", is_flag=True, help="Replace parts that exist.")
@json_option
def segments_command(
    files: Sequence[str],
    parts: int | None,
    tensors: Sequence[str],
    out_dir: str | None,
    force: bool,
    json_path: str | None,
) -> None:
    """List the parts of a pipeline, in order, and check that each one's inputs are written before it.

    With --cut or --at PART.tflite is a whole model, which is cut first. The parts run on the CPU as they are, each may
    be compiled for a chip of its own, and "bench --pipeline" times them against the whole.
    """
    from ..api.edgetpu import segments

    whole = files[0]
    if parts is not None or tensors:
        from ..api.pipeline import cut_file

        if len(files) > 1:
            raise UsageError(f"Received {len(files)} files to cut, expected one whole model.")
        files = [str(path) for path in cut_file(whole, parts=parts or 2, at=tensors, out_dir=out_dir, force=force)]
    found = segments(files)
    if wants_text(found.to_dict, json_path):
        _print_pipeline(found)
        if files[0] != whole:
            next_step("bench", "--pipeline", *files, "--against", whole)
    found.raise_if_broken()
    if json_path != "-":
        _print_bench(files[0])


def _print_pipeline(found: Pipeline) -> None:
    out = console()
    for position, part in enumerate(found.segments):
        left = ", ".join(f"{count} {op}" for op, count in part.cpu_ops.items()) or "none"
        memory = f"{readable_bytes(part.cached_bytes)} cached, {readable_bytes(part.streamed_bytes)} streamed"
        out.print(f"{position}  {part.name}: {memory}; on the CPU: {left}", markup=False)
        for kind, specs in (("in", part.inputs), ("out", part.outputs)):
            for spec in specs:
                ends = f"{spec.dtype} {list(spec.shape)} scale {spec.scale} zero point {spec.zero_point}"
                out.print(f"     {kind:3} {printable(spec.tensor_name)}  {ends}", markup=False)
    out.print("the parts fit" if not found.problems else "")
    for problem in found.problems:
        out.print(f"problem: {printable(problem)}", style="red", markup=False)


@command.command("diff")
@path_argument("plain", FILE, metavar="PLAIN.tflite")
@path_argument("compiled", FILE, metavar="COMPILED_edgetpu.tflite")
@json_option
def diff_command(plain: str, compiled: str, json_path: str | None) -> None:
    """Show what a compilation moved to the Edge TPU and what stayed on the CPU, and why."""
    from ..api.edgetpu import compare_compiled

    found = compare_compiled(plain, compiled)
    if wants_text(found.to_dict, json_path):
        _print_diff(found)
        _print_bench(compiled)


def _print_bench(compiled: str) -> None:
    next_step("bench", compiled, "--device", "BOARD", "--delegate", "edgetpu")


def _print_diff(found: Comparison) -> None:
    out, changes = console(), found.changes
    out.print(f"moved to the Edge TPU: {_counts(changes.moved)}", markup=False)
    out.print(f"stayed on the CPU: {_counts(changes.stayed)}", markup=False)
    for index, op in changes.stayed_operators:
        out.print(f"  {index:4} {op}  {printable(found.reasons.get(index, ''))}", markup=False)
    for change in changes.changed_ends:
        out.print(f"changed: {printable(change)}", style="yellow", markup=False)
    out.print("as predicted" if found.as_predicted else f"predicted on the CPU: {_counts(found.predicted.cpu_ops)}")


def _counts(counts: Mapping[str, int]) -> str:
    return (
        f"{sum(counts.values())} ({', '.join(f'{count} {op}' for op, count in counts.items())})" if counts else "none"
    )
