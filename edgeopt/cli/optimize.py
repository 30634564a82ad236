"""``edgeopt optimize``."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..artifact.atomic import refuse_to_overwrite
from ..errors import UsageError
from .devices import devices_option, runtime_option
from .junit import junit_option, write_junit
from .output import STYLES, console, json_option, next_step, readable_bytes
from .paths import DATA, MODEL, path_argument
from .progress import live
from .words import budget_options, image_options, metric_options, parse_seconds, parse_size

if TYPE_CHECKING:
    from ..api.optimize.result import OptimizeResult, Stage
    from ..api.optimize.run import PlannedRecipe

_REQUIRED = {"model": "MODEL", "validation": "--validation"}


_WIDE = 96  # columns of a terminal in which the table has room between its own


def _print_recipe(context: click.Context, _parameter: click.Parameter, name: str | None) -> None:
    """Print a built-in recipe and end."""
    if name is not None:
        from ..recipes.optimize import built_in_text

        click.echo(built_in_text(name), nl=False)
        context.exit()


@click.command()
@path_argument("model", MODEL, required=False)
@click.option("--recipe", metavar="FILE.toml|NAME", help="What to do: a TOML file, or small, fast, edgetpu, tiny. "
              "Without one, rung by rung to the budget.")  # fmt: skip
@budget_options
@metric_options("--output-name")
@click.option("--train", type=DATA, metavar="DATA", help="Training samples with labels: .npz with x and y, a folder of "
              "images, module:callable.")  # fmt: skip
@click.option("--validation", type=DATA, metavar="DATA", help="Samples with labels on which each file is scored.")
@click.option(
    "--calibration", type=DATA, metavar="DATA", help="Samples for the conversion; by default some of --train."
)
@click.option("--target", metavar="edgetpu", help="Without --recipe: make files that the Edge TPU's compiler maps; "
              "no operator stays float.")  # fmt: skip
@click.option("--test", type=DATA, metavar="DATA", help="Without --recipe: samples with labels that judge the file "
              "that is recommended; by default half of --validation.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Without --recipe: say which files would be tried, what each needs, and "
              "about how long its training takes; write none.")  # fmt: skip
@click.option("--recipe-out", metavar="FILE.toml", help="With --dry-run: write the dearest of them as a recipe.")
@click.option("--time-limit", metavar="30m|2h", help="Without --recipe: take the nearest file after so long.")
@click.option("-o", "--output", metavar="OUTDIR", help="Folder for result.json, a file a stage, and model.keras.")
@click.option("--resume", is_flag=True, help="Go on with the run in OUTDIR that was interrupted.")
@click.option("--force", is_flag=True, help="Write into OUTDIR although it is not empty.")
@image_options
@click.option("--device", default="local", show_default=True, metavar="NAME", help="What measures.")
@devices_option
@runtime_option
@click.option(
    "--seconds", type=float, default=10.0, show_default=True, metavar="S", help="Time a file at most so long."
)
@click.option("--custom-objects", multiple=True, metavar="module:NAME",
              help="Custom layer or function in the model; may be repeated.")  # fmt: skip
@click.option("--unsafe-load", is_flag=True, help="Allow Python code stored in the model file to run.")
@click.option("--print-recipe", metavar="NAME", is_eager=True, expose_value=False, callback=_print_recipe,
              help="Print a built-in recipe (small, fast, edgetpu, tiny) and end.")  # fmt: skip
@json_option
@junit_option
def command(json_path: str | None, junit_path: str | None, seconds: float, proven: bool, **options: Any) -> None:
    """Find the cheapest file of MODEL (.keras or .h5) that keeps a budget, or run a recipe on it.

    With --max-drop and other limits: an int8 file first; then, as far as a limit is missed and --train is given,
    training for 8 bits, or channels taken out until time, size or memory are kept. OUTDIR/model.tflite is the file that
    is recommended, judged on samples that chose nothing.

    With --recipe: its passes in order; after each, the file is exported and measured.

    OUTDIR gets result.json, a .tflite file a stage, the final Keras model, and the recipe as it was run. Exit 4 when
    the budget is missed; everything is written all the same.
    """
    from ..api.optimize.folder import resumable
    from ..artifact.envelope import write_json

    started = time.monotonic()
    for name, word in _REQUIRED.items():
        if options[name] is None:
            raise UsageError(f"optimize needs {word}, and got none; see edgeopt optimize --help.")
    left = dict(options)
    read = _what(left, proven)
    dry, recipe_out = left.pop("dry_run"), left.pop("recipe_out")
    if dry:
        if junit_path is not None:
            raise UsageError("--junit goes without --dry-run, which judges nothing.")
        _forecast(read, left, recipe_out, json_path)
        return
    if recipe_out is not None:
        raise UsageError("--recipe-out goes with --dry-run; a run writes its own OUTDIR/recipe.toml.")
    if options["output"] is None:
        raise UsageError("optimize needs -o, and got none; see edgeopt optimize --help.")
    try:
        result = _optimize(read, seconds, left, started)
    except KeyboardInterrupt:
        if resumable(options["output"]):
            again = [*click.get_current_context().obj, *([] if options["resume"] else ["--resume"])]
            click.echo(f"\nTo go on with this run: edgeopt {shlex.join(w for w in again if w != '--force')}", err=True)
        raise
    write_junit(junit_path, "optimize", result.to_dict(), proven=proven)
    if json_path is not None:
        write_json(result.to_dict(), json_path)
    if json_path != "-":
        _print(result)
    result.raise_for_budget(proven=proven)
    if json_path != "-":
        last, data = str(Path(options["output"]) / result.file), options["test"] or options["validation"]
        binary = options["runtime"] == "larq_compute_engine"  # no board runs it
        where = ("--runtime", options["runtime"]) if binary else ("--device", "BOARD")
        next_step("validate", last, "--data", data, "--baseline", options["model"], *where)


def _what(options: dict[str, Any], proven: bool) -> PlannedRecipe:
    """Take the recipe, or the budget, out of the options; what is wrong with it is said before TensorFlow is loaded."""
    from ..api.optimize.run import read_budget, read_recipe
    from ..evaluation.budget import LIMITS, Budget
    from ..recipes.convert import ConvertRecipe

    limits = {name: options.pop(name) for name in LIMITS}
    pictures = {name: options.pop(name) for name in ("image_size", "image_scaling", "image_resize")}
    pictures["image_size"] = parse_size(pictures["image_size"])
    given = {name: value for name, value in pictures.items() if value is not None}
    recipe, metric, output_name, target = (options.pop(name) for name in ("recipe", "metric", "output_name", "target"))
    options["time_limit_s"] = parse_seconds(options.pop("time_limit"))
    if recipe is None and options["train"] is None and options["calibration"] is None:
        raise UsageError("There is nothing to calibrate with; give --calibration, or --train to take some of.")
    if recipe is None:
        return read_budget(Budget(**limits, proven=proven), ConvertRecipe(**given), metric, output_name, target)
    if metric != "accuracy" or any(value is not None for value in (*limits.values(), output_name)):
        raise UsageError("A recipe has its own budget, metric and output_name; write them there, or drop --recipe.")
    if any(value is not None for value in (options["test"], options["time_limit_s"], target)):
        raise UsageError("--test, --time-limit and --target go with a run without a recipe; drop them, or --recipe.")
    read = read_recipe(recipe)
    if options["train"] is None:
        raise UsageError("optimize needs --train for the passes of a recipe, and got none.")
    if not given:
        return read
    return replace(read, settings=replace(read.settings, convert=replace(read.settings.convert, **given)))


def _optimize(read: PlannedRecipe, seconds: float, options: dict[str, Any], started: float) -> OptimizeResult:
    from ..api.optimize.folder import check_folder
    from ..api.optimize.run import optimize
    from ..devices import BenchPlan
    from ..models.detect import detect
    from ..process.quiet import load_tensorflow_quietly

    model = options.pop("model")
    detect(model)
    check_folder(options["output"], read.settings, resume=options["resume"], force=options["force"])
    bench = BenchPlan(min_seconds=min(1.0, seconds), max_seconds=seconds)
    with live() as display:
        load_tensorflow_quietly()
        if options["time_limit_s"] is not None:  # loading TensorFlow is a part of it
            options["time_limit_s"] -= time.monotonic() - started
        return optimize(model, read, bench=bench, on_step=display.say, on_progress=display.progress, **options)


def _forecast(read: PlannedRecipe, options: dict[str, Any], recipe_out: str | None, json_path: str | None) -> None:
    """Say what a run would do, and write it as a recipe where that is asked for."""
    from rich import box
    from rich.table import Table

    from ..api.optimize.forecast import forecast
    from ..artifact.atomic import write_atomically
    from ..evaluation.figures import duration
    from ..models.detect import detect
    from ..process.quiet import load_tensorflow_quietly
    from .output import add_row, wants_text

    if not read.climbs:
        raise UsageError("--dry-run goes with a run without a recipe; drop it, or drop --recipe.")
    model = options["model"]
    detect(model)
    if recipe_out is not None:
        refuse_to_overwrite(recipe_out, force=options["force"])
    names = ("train", "validation", "calibration", "custom_objects", "unsafe_load")
    with live() as display:
        load_tensorflow_quietly()
        display.now("timing a step of training")
        plan = forecast(model, read, **{name: options[name] for name in names})
    if recipe_out is not None:
        write_atomically(Path(recipe_out), plan.recipe.to_toml().encode())
    if wants_text(plan.to_dict, json_path):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("rung", "tried when", "needs", "trains about"):
            table.add_column(name, overflow="fold")
        for rung in plan.rungs:
            add_row(table, rung.name, rung.when, rung.needs, "" if rung.seconds is None else duration(rung.seconds))
        console().print(table)
        next_step(
            *_without(click.get_current_context().obj, "--dry-run"), *([] if options["output"] else ["-o", "OUTDIR"])
        )


def _without(given: Sequence[str], flag: str) -> list[str]:
    """Return the words of this command without a flag, and without what a run does not take."""
    words, skipped = [], False
    for word in given:
        alone = word in ("--recipe-out", "--json")
        if not skipped and not alone and word != flag and not word.startswith(("--recipe-out=", "--json=")):
            words.append(word)
        skipped = alone
    return words


def _print(result: OptimizeResult) -> None:
    from rich import box
    from rich.table import Table

    from ..api.optimize.result import LadderResult
    from ..evaluation.budget import unproven_warnings
    from .output import add_row

    out = console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1 if out.width >= _WIDE else 0))
    metric = result.stages[0].figures["metric"]["name"]
    for name in ("stage", metric, "95 % interval", "size", "zipped", "MMACs", "zeros", "p50 ms"):
        table.add_column(name, no_wrap=name == "stage", overflow="fold")
    for stage in result.stages:
        add_row(table, *_cells(stage))
    out.print(table)
    for entry in result.compression:
        out.print(f"{entry.stage} {entry.summary}. {entry.note}".rstrip(), markup=False)
    if result.overall is not None:
        out.print(f"In all, {result.overall.stage} {result.overall.summary}.", style="bold", markup=False)
    for item in result.skipped:
        out.print(f"left as it was in {item['stage']}: {item['subject']} ({item['reason']}) {item['detail']}",
                  markup=False)  # fmt: skip
    if isinstance(result, LadderResult):
        for passed in result.passed:
            out.print(f"not tried: {passed.name}: {passed.reason}", markup=False)
        if len(result.front) > 1:
            out.print(f"none is better in all: {', '.join(result.front)}", markup=False)
        out.print(f"{result.stages[result.chosen].name} is recommended: {result.reason}", style="bold", markup=False)
        if (mapping := result.mapping) is not None:
            left = {**mapping["cpu_ops"], **mapping["unsure_ops"]}
            mapped = sum(mapping["mapped_ops"].values())
            told = f"{mapping['target']}: {mapped} operators are predicted to be mapped, {left or 'none'} left"
            out.print(f"{told}; edgeopt edgetpu compile says it for sure.", markup=False)
        out.print(f"On {result.final['samples']:,} samples that judge it:", markup=False)
    for line in result.budget:
        out.print(f"budget: {line}", style=STYLES[line.verdict], markup=False)
    for warning in (*result.warnings, *unproven_warnings(result.budget)):
        out.print(f"warning: {warning}", style="yellow", markup=False)
    if result.folder is not None:
        out.print(f"The files, {result.file} last, and result.json are in {result.folder}/.", markup=False)


def _cells(stage: Stage) -> list[str]:
    from ..evaluation.figures import figure, interval_ends

    figures, latency = stage.figures, stage.figures["latency_ms"]
    value, interval = figures["metric"]["value"], figures["metric"]["ci95"]
    return [
        stage.name,
        figure(value, interval),
        " to ".join(interval_ends(interval)),
        readable_bytes(figures["size_bytes"]),
        readable_bytes(figures["gzip_bytes"]),
        f"{figures['macs'] / 1e6:.3f}",
        f"{figures['sparsity']:.1%}",
        "not timed" if latency is None else figure(latency["p50"], latency["p50_ci95"]),
    ]
