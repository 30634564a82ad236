"""``edgeopt convert``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import OutputError, UsageError
from .float_words import contract_words, float_words, selective_words
from .output import add_row, console, json_option, next_step, readable_bytes
from .paths import DATA, MODEL, path_argument
from .progress import live
from .words import image_options, metric_options, parse_shape, parse_size

if TYPE_CHECKING:
    from pathlib import Path

    from ..artifact.artifact import Artifact
    from ..converters.accelerator import CompiledFile, Prediction
    from ..evaluation.fidelity import Fidelity
    from ..recipes.convert import ConvertRecipe


_NAMED = 4  # layers of a repair that a line names


@click.command()
@path_argument("model", MODEL)
@click.option(
    "-o", "--output", metavar="OUT.tflite", help="The file to write, OUT.json beside it.  [default: MODEL_int8.tflite]"
)
@click.option("--recipe", metavar="FILE.toml", help="Take defaults from the [convert] table of a TOML recipe.")
@click.option(
    "--quantize",
    default="int8",
    show_default=True,
    metavar="int8|int8w4|int16x8|float16|dynamic|dynamic4|float32",
    help="What to quantise to.",
)
@click.option(
    "--to",
    default="tflite",
    show_default=True,
    metavar="tflite|onnx|tensorrt",
    help="Format of the file; onnx (int8: QDQ) and tensorrt (QDQ as that reads it) need the extra onnx.",
)
@click.option(
    "--calibration",
    type=DATA,
    metavar="DATA",
    help="Samples for int8, int8w4 and int16x8: .npz, .npy, a folder of images, or module:callable.",
)
@click.option("--calibration-samples", default=200, show_default=True, metavar="N", help="How many of them to use.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Picks the samples.")
@click.option(
    "--ranges",
    metavar="minmax|percentile|mse|best",
    help="How the ranges of int8 activations are found (best by default).",
)
@click.option(
    "--input-type", metavar="int8|uint8|int16|float32", help="Type of the file's inputs (int8 by default for int8)."
)
@click.option("--output-type", metavar="int8|uint8|int16|float32", help="Type of the file's outputs.")
@click.option("--batch-size", default=1, show_default=True, metavar="N", help="Static batch dimension.")
@click.option("--dynamic-batch", is_flag=True, help="Leave the batch dimension open instead.")
@click.option(
    "--input-shape",
    multiple=True,
    metavar="NAME=1,96,96,3",
    help="Shape of an input that the model leaves open; may be repeated.",
)
@click.option(
    "--per-tensor-dense", is_flag=True, help="One scale for a Dense layer's weights, for consumers that need it."
)
@click.option(
    "--sparse-weights",
    is_flag=True,
    help="Store kernels with many zeros in TFLite's sparse format, expanded in memory; can make a file larger.",
)
@click.option("--allow-float-ops", is_flag=True, help="Accept a file in which some operators stay float.")
@click.option(
    "--repair/--no-repair", default=True, show_default=True, help="Remove known causes of ruined integer files."
)
@click.option(
    "--recover", is_flag=True, help="Put channels, biases, roundings, ranges right from samples, without training."
)
@click.option(
    "--edges",
    default="auto",
    show_default=True,
    metavar="auto|int8|prepared",
    help="auto: the few operators at an input or output that one integer scale cannot serve stay float; int8: none; "
    "prepared: none, and the file takes normalised values and gives the parts of a joined output.",
)
@click.option(
    "--fidelity/--no-fidelity",
    default=True,
    show_default=True,
    help="Compare the file's outputs with the model's on some samples.",
)
@click.option(
    "--min-fidelity",
    type=float,
    metavar="DB",
    help="Exit with 4 when an output has less signal to noise than so many decibels.",
)
@click.option(
    "--float-ops",
    metavar="auto|N|LAYER,LAYER",
    help="Leave operators of an int8 file float: as few as reach --min-fidelity or --max-drop, at most N, or those of "
    "layers.",
)
@click.option("--max-drop", type=float, metavar="X", help="With --float-ops auto: the metric's drop, such as 0.01.")
@click.option("--data", type=DATA, metavar="DATA",
              help="With --max-drop: samples with labels to choose by; validate on others.")  # fmt: skip
@metric_options("--output-name", "--score", when="With --max-drop: ")
@click.option(
    "--from-layer",
    multiple=True,
    metavar="NAME",
    help="Begin the file with this layer; what is in front of it is done in Python (--snippet). May be repeated.",
)
@image_options
@click.option(
    "--preprocess", default="", metavar="TEXT", help="Your own note on how inputs are prepared; kept in OUT.json."
)
@click.option(
    "--custom-objects",
    multiple=True,
    metavar="module:NAME",
    help="Custom layer or function in the model ([ALIAS=]module:NAME); may be repeated.",
)
@click.option(
    "--target",
    metavar="edgetpu|ethos-u55-128|...",
    help="Make what this accelerator's compiler wants, and compile it: OUT_edgetpu.tflite, OUT_vela.tflite.",
)
@click.option("--predict-only", is_flag=True, help="With --target: say what would be mapped, and do not compile.")
@click.option("--snippet", metavar="PATH|-", help="Write the lines of Python that run the file on a board, too.")
@click.option("--unsafe-load", is_flag=True, help="Allow Python code stored in the model file (Lambda layers) to run.")
@click.option("--force", is_flag=True, help="Replace OUT.tflite and OUT.json if they exist.")
@json_option
def command(
    model: str,
    output: str | None,
    recipe: str | None,
    calibration: str | None,
    target: str | None,
    predict_only: bool,
    snippet: str | None,
    force: bool,
    json_path: str | None,
    **options: Any,
) -> None:
    """Convert MODEL (.keras, .h5, or a SavedModel folder) to a .tflite (or .onnx) file, full int8 by default.

    The file is read back and checked: int8 means that no float operator and no dynamic dimension is left.
    """
    from ..api.convert import convert

    loading = {name: options.pop(name) for name in ("custom_objects", "unsafe_load", "data", "metric", "output_name")}
    settings = _recipe(recipe, options)
    output = output or _beside(model, settings)
    sidecar = _check_outputs(model, output, (json_path, snippet), force)
    plan = _Target(target, output, predict_only, force)
    settings = plan.adapt(settings)
    with live() as display:
        work = f"{output}.recover" if settings.recover else None
        artifact = convert(
            model, calibration=calibration, recipe=settings, work=work, on_event=display.event, **loading
        )
        artifact.save(output, force=force)
        artifact = plan.run(artifact, display.now)
    if json_path is not None and not _same(json_path, sidecar):
        from ..artifact.envelope import write_json

        write_json(artifact.saved_as(output), json_path)
    if snippet is not None:
        _write_snippet(artifact.snippet(output), snippet)
    if "-" not in (json_path, snippet):
        _print_summary(output, sidecar, artifact)
        plan.print()
        _print_next(model, output, plan, binary=bool(artifact.sidecar.get("binary_macs")))
    artifact.raise_for_fidelity()


def _recipe(path: str | None, options: Mapping[str, Any]) -> ConvertRecipe:
    """Return the recipe in a file, with the options that stand on the command line put in."""
    from ..recipes.convert import ConvertRecipe, convert_recipe_from_file

    source = click.get_current_context().get_parameter_source
    given = {name: value for name, value in options.items() if source(name) is not ParameterSource.DEFAULT}
    if "input_shape" in given:
        given["input_shapes"] = dict(map(parse_shape, given.pop("input_shape")))
    if "image_size" in given:
        given["image_size"] = parse_size(given["image_size"])
    if "float_ops" in given:
        given["float_ops"] = _parse_float_ops(given["float_ops"])
    base = {} if path is None else convert_recipe_from_file(path).to_dict()
    return ConvertRecipe.from_dict({**base, **given})


def _parse_float_ops(text: str) -> str | int | list[str]:
    if text == "auto" or text.isdigit():
        return int(text) if text.isdigit() else text
    return [name.strip() for name in text.split(",")]


class _Target:
    """What ``--target`` adds: the recipe that its compiler wants, the predicted mapping, and the compiled file."""

    def __init__(self, name: str | None, output: str, predict_only: bool, force: bool) -> None:
        if name is None and predict_only:
            raise UsageError("--predict-only goes with --target; name one.")
        self.name, self._output, self._force = name, output, force
        self._compile = name is not None and not predict_only
        self.prediction: Prediction | None = None
        self.compiled: tuple[Path, CompiledFile] | None = None

    def adapt(self, recipe: ConvertRecipe) -> ConvertRecipe:
        """Return the recipe with the target's wishes put in; fail at once if its compiler is missing."""
        if self.name is None:
            return recipe
        from ..api.target import compiled_path, recipe_for, require_compiler

        if recipe.is_onnx:
            raise UsageError(f"--target {self.name} compiles .tflite files; drop it, or --to {recipe.to}.")
        adapted = recipe_for(self.name, recipe)
        if self._compile:
            compiled_path(self.name, self._output, self._force)
            require_compiler(self.name)
        return adapted

    def run(self, artifact: Artifact, now: Callable[[str], None]) -> Artifact:
        """Predict the mapping, compile unless only that was asked for, and tell the sidecar; return the artifact."""
        if self.name is None:
            return artifact
        from ..api.target import compile_beside, predict, with_target

        if self._compile:
            now(f"compiling for {self.name}")
            self.compiled = compile_beside(self.name, self._output, artifact.model, force=self._force)
        self.prediction = predict(self.name, artifact.model)
        told = with_target(artifact, self.prediction, self.compiled)
        told.save(self._output, force=True)
        return told

    def print(self) -> None:
        """Say in two lines what is, or would be, on the accelerator."""
        if self.prediction is None:
            return
        mapped, left = sum(self.prediction.mapped_ops.values()), self.prediction.cpu_ops
        unsure = f", unsure of {self.prediction.unsure_ops}" if self.prediction.unsure_ops else ""
        click.echo(
            f"target       {self.name}: {mapped} operators predicted to be mapped, {left or 'none'} left{unsure}"
        )
        if self.compiled is not None:
            path, made = self.compiled
            click.echo(f"compiled     {path}: {made.mapped} mapped, {dict(made.cpu_ops) or 'none'} left")
        for reason in self.prediction.reasons[:10]:
            click.echo(f"             {reason.op} {reason.index}: {reason.why} {reason.remedy}")


def _beside(model: str, recipe: ConvertRecipe) -> str:
    """Return where a file goes that was given no name: beside the model."""
    from pathlib import Path

    path = Path(model)
    stem = path.name if path.is_dir() else path.stem
    kind = "_tensorrt" if recipe.to == "tensorrt" else ""
    return str(path.with_name(f"{stem}_{recipe.quantize}{kind}{'.onnx' if recipe.is_onnx else '.tflite'}"))


def _write_snippet(text: str, path: str) -> None:
    from ..artifact.atomic import write_atomically

    if path == "-":
        click.echo(text, nl=False)
    else:
        write_atomically(path, text.encode())


def _print_next(model: str, output: str, plan: _Target, *, binary: bool) -> None:
    """Say what to run next: the file on data that it has not seen, or the compiled file on the board."""
    if plan.compiled is not None and plan.name == "edgetpu":
        next_step("bench", plan.compiled[0], "--device", "BOARD", "--delegate", "edgetpu")
    else:
        runtime = ("--runtime", "larq_compute_engine") if binary else ()
        next_step("validate", output, "--data", "TEST_DATA", "--baseline", model, *runtime)


def _check_outputs(model: str, output: str, others: tuple[str | None, ...], force: bool) -> str:
    """Refuse, before anything slow runs, what could not be written in the end; return the sidecar's path.

    Args:
        model: What is converted.
        output: The file.
        others: What ``--json`` and ``--snippet`` say.
        force: Replace what is there.
    """
    from ..artifact.artifact import check_output, sidecar_path
    from ..artifact.atomic import refuse_to_overwrite

    check_output(output, force)
    if _same(output, model):
        raise OutputError(f"The output {output} is the model itself; choose another name with -o.")
    sidecar = str(sidecar_path(output))
    if others.count("-") > 1:
        raise UsageError("--json - and --snippet - both want standard output; give one of them a path.")
    for word, path in zip(("--json", "--snippet"), others, strict=True):
        if path is None or path == "-" or (word == "--json" and _same(path, sidecar)):
            continue
        if any(_same(path, taken) for taken in (output, model, sidecar)):
            raise OutputError(f"{word} {path} is the model or the output itself; choose another name.")
        refuse_to_overwrite(path, force)
    return sidecar


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _print_summary(output: str, sidecar: str, artifact: Artifact) -> None:
    from rich.table import Table

    fields = artifact.sidecar
    out = console()
    table = Table(show_header=False, box=None, pad_edge=False)
    add_row(table, "file", f"{output}  (evidence in {sidecar})")
    add_row(table, "size", f"{readable_bytes(fields['size_bytes'])}, {readable_bytes(fields['gzip_bytes'])} gzipped")
    add_row(table, "quantize", fields["quantize"] + float_words(fields))
    for line in contract_words(fields):
        add_row(table, "in Python", line)
    for kind in ("inputs", "outputs"):
        for item in fields[kind]:
            scale = "" if item["scale"] is None else f"  scale {item['scale']:.6g}, zero point {item['zero_point']}"
            add_row(table, kind[:-1], f"{item['name']}  {item['dtype']} {tuple(item['shape'])}{scale}")
    peak = fields["peak_activation_bytes"]
    peak_words = "" if peak is None else f", {readable_bytes(peak)} peak activations"
    add_row(table, "work", f"{fields['macs'] / 1e6:.2f} MMACs, {fields['parameters']:,} parameters{peak_words}")
    if fields["granularity"]:
        add_row(table, "weights", ", ".join(f"{op} {kind}" for op, kind in fields["granularity"].items()))
    if fields["calibration"]:
        add_row(table, "calibration", f"{fields['calibration']['count']} samples, seed {fields['calibration']['seed']}")
    if (ranges := fields["ranges"]) is not None:
        add_row(table, "ranges", ranges["used"] + (f": {ranges['why']}" if ranges["why"] else ""))
        if (biases := ranges["biases"]) is not None and biases["kept"]:
            add_row(table, "biases", f"without the shift that rounded weights make: {biases['gain_db']:+.1f} dB")
    for line in selective_words(fields["selective"]):
        add_row(table, "float", line)
    if fields["recovery"] is not None and fields["recovery"]["steps"]:
        add_row(table, "recovered", _recovery_words(fields["recovery"]))
    for repair in fields["repairs"]:
        others = len(repair["layers"]) - _NAMED
        layers = ", ".join(repair["layers"][:_NAMED]) + (f" and {others} others" if others > 0 else "")
        add_row(table, "repaired", f"{layers}: {repair['detail']}")
    if (found := artifact.fidelity) is not None:
        add_row(table, "fidelity", _fidelity_words(found))
    add_row(table, "time", ", ".join(f"{stage} {value:.1f} s" for stage, value in fields["seconds"].items()))
    out.print(table, markup=False)
    for warning in fields["warnings"]:
        out.print(f"warning: {warning}", style="yellow", markup=False)


def _recovery_words(recovery: Mapping[str, Any]) -> str:
    """One line: what was kept, and what held-back samples say of it."""
    before, words = recovery["snr_db"], []
    for step in recovery["steps"]:
        words.append(f"{step['method']} {'kept' if step['kept'] else 'not kept'}")
        before = step["snr_db"] if step["kept"] else before
    return f"{recovery['snr_db']:.1f} -> {before:.1f} dB on {recovery['judges']} other samples ({', '.join(words)})"


def _fidelity_words(found: Fidelity) -> str:
    """One line: the worst output's ratio, the classes, and on which samples."""
    from ..evaluation.fidelity import EQUAL_DB

    output = min(found.outputs, key=lambda item: item.snr_db)
    ratio = "the model's outputs to the last digit" if output.snr_db >= EQUAL_DB else f"{output.snr_db:.1f} dB"
    named = f" (output {output.name})" if len(found.outputs) > 1 else ""
    same = "" if output.same_class is None else f", same class on {output.same_class:.0%}"
    kept = "held back" if found.held_back else "that calibrated it"
    return f"{ratio}{named}{same} of {found.samples} samples {kept}"
