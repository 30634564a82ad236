"""``edgeopt check``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .check_print import print_fix, print_report
from .model_explorer import model_explorer_option, write_node_data
from .output import json_option, next_step
from .paths import DATA, MODEL, path_argument
from .progress import LOADING, live
from .words import parse_shape

if TYPE_CHECKING:
    from ..api.fix import FixResult
    from ..check.model import CheckReport

_TARGETS = "prune, channels, cluster, qat or convert; or edgetpu, gpu, ethos-u55-128, ... All of the former by default."
_FIXING = ("output", "batch_size", "force")


@click.command("check")
@path_argument("model", MODEL, metavar="MODEL")
@click.option("--for", "target", metavar="STAGE|ACCELERATOR", help=_TARGETS)
@click.option(
    "--fix", is_flag=True, help="Write a copy of the Keras model with all exact rewrites; check that as well."
)
@click.option("-o", "--output", metavar="FIXED.keras", help="--fix: the file to write, .keras or .h5.")
@click.option("--batch-size", type=int, metavar="N", help="--fix: give the inputs this static batch size.")
@click.option("--force", is_flag=True, help="--fix: replace FIXED.keras if it exists.")
@click.option("--min-runtime", "minimum_runtime", type=int, metavar="10..14", help="edgetpu: the board's runtime.")
@click.option("--rules", metavar="FILE.toml", help="edgetpu: rules to use instead of the built-in ones.")
@click.option(
    "-i", "--intermediate-tensors", metavar="NAME,NAME", help="edgetpu: tensors that the mapped part ends at."
)
@click.option("--calibration", type=DATA, metavar="DATA",
              help="Keras model: samples for the conversion (made up by default); --fix compares on them.")  # fmt: skip
@click.option("--input-shape", "input_shapes", multiple=True, metavar="NAME=1,96,96,3",
              help="Keras model: shape of an input that the model leaves open; may be repeated.")  # fmt: skip
@click.option("--custom-objects", multiple=True, metavar="module:NAME", help="Keras model: custom layer or function.")
@click.option("--unsafe-load", is_flag=True, help="Keras model: allow Python code stored in the file to run.")
@model_explorer_option("what the accelerator of --for would run")
@json_option
def command(
    model: str,
    target: str | None,
    fix: bool,
    output: str | None,
    batch_size: int | None,
    force: bool,
    json_path: str | None,
    explorer_path: str | None,
    **options: Any,
) -> None:
    """Say what each pass, the conversion, or an accelerator would do with each part of MODEL, why, and what to do.

    MODEL is a Keras model (.keras or .h5); without --for it is checked for all passes and the conversion. Nothing is
    trained. For an accelerator, MODEL is a .tflite file, or a Keras model, which is converted to int8 (for gpu to
    float16) for the check; the compiler need not be there.

    --fix writes the model as FIXED.keras, rewritten where that is exact: nested models become their layers, bare
    operations layers, and BatchNormalization, Normalization and Rescaling go into the weights beside them. The outputs
    are compared before anything is written.

    The exit code is 4 when the target of --for would refuse the model (the fixed one, with --fix).
    """
    from ..artifact.envelope import write_json
    from ..check.model import check_model, is_tflite
    from ..models.detect import detect

    tflite = is_tflite(model)
    _check_usage(model, fix, {"output": output, "batch_size": batch_size, "force": force}, json_path)
    if fix and tflite:
        raise UsageError(f"{model} is a .tflite file; --fix rewrites the layers of a Keras model (.keras or .h5).")
    if not tflite:
        detect(model)
    given = {name: value or None for name, value in options.items()}
    if given["input_shapes"]:
        given["input_shapes"] = dict(parse_shape(text) for text in given["input_shapes"])
    if given["intermediate_tensors"]:
        given["intermediate_tensors"] = given["intermediate_tensors"].split(",")
    with live("reading the model" if tflite else LOADING) as display:
        if fix:
            _load_quietly()
        report, extra = check_model(model, target=target, on_event=display.event, **given), {}
    text = json_path != "-"
    if text:
        print_report(report)
    if fix:
        with live("rewriting the model, and comparing the outputs") as display:
            result = _fix(model, output, batch_size, force, given)
            again = check_model(str(output), target=target, on_event=display.event, **given)
        if text:
            print_fix(model, result)
            print_report(again)
        before = {"items": [item.to_dict() for item in report.items], "summary": dict(report.summary)}
        extra = {"fix": result.to_dict(), "before": before}
        report = again
    if explorer_path is not None:
        from ..pages.model_explorer import mapping_data

        of_operators = {item.name: item.verdict for item in report.items if "index" in item.details}
        write_node_data(explorer_path, lambda: mapping_data(of_operators))
    if json_path is not None:
        write_json({**report.to_dict(), **extra}, json_path)
    report.raise_if_refused()
    if json_path != "-":
        _print_next(model, output, target, report)


def _print_next(model: str, output: str | None, target: str | None, report: CheckReport) -> None:
    """Say what to run next: the rewriting, where there is something to rewrite, or else the conversion."""
    from ..check.model import is_tflite
    from ..check.stages import STAGES

    path = Path(model)
    if is_tflite(model):
        running = {"edgetpu": ("edgetpu", "compile", model), "gpu": ("bench", model, "--delegate", "gpu")}
        next_step(*running.get(str(target), ("bench", model)))
    elif output is None and report.summary.get("fixes"):
        next_step("check", model, "--fix", "-o", path.with_name(f"{path.stem}_fixed{path.suffix}"))
    elif target == "gpu":
        next_step("convert", output or model, "--quantize", "float16")
    else:
        accelerator = [] if target is None or target in STAGES else ["--target", target]
        next_step("convert", output or model, "--calibration", "TRAINING_DATA", *accelerator)


def _check_usage(model: str, fix: bool, fixing: dict[str, Any], json_path: str | None) -> None:
    """Refuse, before anything slow runs, what cannot end well."""
    if not fix and (given := [name for name in _FIXING if fixing[name] not in (None, False)]):
        word = {"output": "-o", "batch_size": "--batch-size", "force": "--force"}[given[0]]
        raise UsageError(f"{word} goes with --fix; add --fix to write a rewritten model, or leave {word} out.")
    if fix and fixing["output"] is None:
        raise UsageError("--fix writes a new model and got no name for it; add -o FIXED.keras.")
    if fix:
        from ..api.fix import check_batch_size, check_output

        check_batch_size(fixing["batch_size"])
        check_output(fixing["output"], model, fixing["force"])
    taken = [os.path.realpath(path) for path in (model, fixing["output"]) if path is not None]
    if json_path is not None and os.path.realpath(json_path) in taken:
        raise UsageError(f"--json {json_path} is the model or the output itself; choose another name.")


def _load_quietly() -> None:
    """Load TensorFlow without its log, for the rewriting; the children that check load it at the same time."""
    from ..process.isolation import warm_up
    from ..process.quiet import load_tensorflow_quietly

    warm_up()
    load_tensorflow_quietly()


def _fix(model: str, output: str | None, batch_size: int | None, force: bool, options: dict[str, Any]) -> FixResult:
    from ..api.fix import fix_model

    keys = ("calibration", "custom_objects", "unsafe_load")
    given = {key: options[key] for key in keys if options[key] is not None}
    return fix_model(model, output, batch_size=batch_size, force=force, **given)
