"""``edgeopt convert``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from ..errors import OutputError, UsageError
from .output import add_row, console, json_option, readable_bytes
from .words import parse_shape, parse_size

_STAGES = {
    "data": "reading calibration data",
    "load": "loading the model",
    "export": "exporting",
    "convert": "converting and calibrating",
}


def _recipe_defaults(context: click.Context, _parameter: click.Parameter, path: str | None) -> str | None:
    """Make the [convert] table of a recipe file the defaults of the other options."""
    if path is not None:
        from ..recipes.convert import convert_recipe_from_file

        values = convert_recipe_from_file(path).to_dict()
        values["input_shape"] = [
            f"{name}={','.join(map(str, shape))}" for name, shape in values.pop("input_shapes").items()
        ]
        size = values.pop("image_size")
        values["image_size"] = None if size is None else f"{size[0]}x{size[1]}"
        context.default_map = {**(context.default_map or {}), **values}
    return path


@click.command()
@click.argument("model")
@click.option(
    "-o", "--output", required=True, metavar="OUT.tflite", help="The file to write; OUT.json is written beside it."
)
@click.option("--recipe", metavar="FILE.toml", is_eager=True, expose_value=False, callback=_recipe_defaults,
              help="Take defaults from the [convert] table of a TOML recipe.")  # fmt: skip
@click.option(
    "--quantize",
    default="int8",
    show_default=True,
    metavar="int8|int16x8|float16|dynamic|float32",
    help="What to quantise to.",
)
@click.option(
    "--calibration",
    metavar="DATA",
    help="Samples for int8 and int16x8: .npz, .npy, a folder of images, or module:callable.",
)
@click.option("--calibration-samples", default=200, show_default=True, metavar="N", help="How many of them to use.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Picks the samples.")
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
@click.option("--image-size", metavar="HxW", help="Size for a folder of images, such as 96x96.")
@click.option(
    "--image-scaling",
    default="0..255",
    show_default=True,
    metavar="0..255|0..1|-1..1",
    help="Pixel values of a folder of images.",
)
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
@click.option("--unsafe-load", is_flag=True, help="Allow Python code stored in the model file (Lambda layers) to run.")
@click.option("--force", is_flag=True, help="Replace OUT.tflite and OUT.json if they exist.")
@json_option
def command(
    output: str, force: bool, json_path: str | None, target: str | None, predict_only: bool, **options: Any
) -> None:
    """Convert MODEL (.keras, .h5, or a SavedModel folder) to a .tflite file, full int8 by default.

    The file is read back and checked: int8 means that no float operator and no dynamic dimension is left.
    """
    from ..artifact.snippet import inference_snippet

    sidecar = _check_outputs(options["model"], output, json_path, force)
    plan = _Target(target, output, predict_only, force)
    options = plan.adapt(options)
    artifact = _convert(options)
    artifact.save(output, force=force)
    plan.run(artifact.model)
    if json_path is not None and not _same(json_path, sidecar):
        from ..artifact.envelope import write_json

        write_json({**artifact.to_dict(), "artifact": output, **plan.fields}, json_path)
    if json_path != "-":
        _print_summary(output, sidecar, artifact.sidecar)
        plan.print()
        click.echo("\nOn the board:\n\n" + inference_snippet(os.path.basename(output), artifact.sidecar))


class _Target:
    """What ``--target`` adds: the recipe that its compiler wants, the predicted mapping, and the compiled file."""

    def __init__(self, name: str | None, output: str, predict_only: bool, force: bool) -> None:
        if name is None and predict_only:
            raise UsageError("--predict-only goes with --target; name one.")
        self._name, self._output, self._force = name, output, force
        self._compile = name is not None and not predict_only
        self.fields: dict[str, Any] = {}

    def adapt(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options with the target's wishes put in; fail at once if its compiler is missing."""
        if self._name is None:
            return options
        from ..api.target import compiled_path, recipe_for, require_compiler

        adapted = recipe_for(self._name, options)
        if self._compile:
            compiled_path(self._name, self._output, self._force)
            require_compiler(self._name)
        return adapted

    def run(self, data: bytes) -> None:
        """Predict the mapping, and compile unless only the prediction was asked for."""
        if self._name is None:
            return
        from ..api.target import compile_beside, predict

        compiled = None
        if self._compile:
            path, made = compile_beside(self._name, self._output, data, force=self._force)
            compiled = {"path": str(path), **made.to_dict()}
        self.fields = {"target": self._name, "prediction": predict(self._name, data).to_dict(), "compiled": compiled}

    def print(self) -> None:
        """Say in two lines what is, or would be, on the accelerator."""
        if not self.fields:
            return
        prediction, compiled = self.fields["prediction"], self.fields["compiled"]
        mapped, left = sum(prediction["mapped_ops"].values()), prediction["cpu_ops"]
        unsure = f", unsure of {prediction['unsure_ops']}" if prediction["unsure_ops"] else ""
        click.echo(
            f"target       {self._name}: {mapped} operators predicted to be mapped, {left or 'none'} left{unsure}"
        )
        if compiled is not None:
            click.echo(
                f"compiled     {compiled['path']}: {compiled['mapped']} mapped, {compiled['cpu_ops'] or 'none'} left"
            )
        for reason in prediction["reasons"][:10]:
            click.echo(f"             {reason['op']} {reason['index']}: {reason['why']} {reason['remedy']}")


def _check_outputs(model: str, output: str, json_path: str | None, force: bool) -> str:
    """Refuse, before anything slow runs, what could not be written in the end; return the sidecar's path."""
    from ..artifact.artifact import check_output, sidecar_path
    from ..artifact.atomic import refuse_to_overwrite

    check_output(output, force)
    if _same(output, model):
        raise OutputError(f"The output {output} is the model itself; choose another name with -o.")
    sidecar = str(sidecar_path(output))
    if json_path not in (None, "-") and not _same(json_path, sidecar):
        if _same(json_path, output) or _same(json_path, model):
            raise OutputError(f"--json {json_path} is the model or the output itself; choose another name.")
        refuse_to_overwrite(json_path, force)
    return sidecar


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _convert(options: dict[str, Any]) -> Any:
    """Build the recipe from the command line's words and convert."""
    from ..api.convert import convert
    from ..recipes.convert import ConvertRecipe

    model = options.pop("model")
    calibration = options.pop("calibration")
    loading = {name: options.pop(name) for name in ("custom_objects", "unsafe_load")}
    options["input_shapes"] = dict(parse_shape(text) for text in options.pop("input_shape"))
    options["image_size"] = parse_size(options["image_size"])
    recipe = ConvertRecipe.from_dict(options)
    with _spinner() as on_event:
        return convert(model, calibration=calibration, recipe=recipe, on_event=on_event, **loading)


@contextmanager
def _spinner() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Name the stage on stderr while it lasts; silent when stderr is no terminal."""
    with console(stderr=True).status("starting") as status:

        def show(event: Mapping[str, Any]) -> None:
            if "stage" in event:
                status.update(_STAGES.get(str(event["stage"]), str(event["stage"])))

        yield show


def _print_summary(output: str, sidecar: str, fields: Mapping[str, Any]) -> None:
    from rich.table import Table

    out = console()
    table = Table(show_header=False, box=None, pad_edge=False)
    add_row(table, "file", f"{output}  (evidence in {sidecar})")
    add_row(table, "size", f"{readable_bytes(fields['size_bytes'])}, {readable_bytes(fields['gzip_bytes'])} gzipped")
    add_row(table, "quantize", f"{fields['quantize']}{', no float operator left' if fields['fully_int8'] else ''}")
    for kind in ("inputs", "outputs"):
        for item in fields[kind]:
            scale = "" if item["scale"] is None else f"  scale {item['scale']:.6g}, zero point {item['zero_point']}"
            add_row(table, kind[:-1], f"{item['name']}  {item['dtype']} {tuple(item['shape'])}{scale}")
    add_row(table, "work", f"{fields['macs'] / 1e6:.2f} MMACs, {fields['parameters']:,} parameters, "
                          f"{readable_bytes(fields['peak_activation_bytes'])} peak activations")  # fmt: skip
    if fields["granularity"]:
        add_row(table, "weights", ", ".join(f"{op} {kind}" for op, kind in fields["granularity"].items()))
    if fields["calibration"]:
        add_row(table, "calibration", f"{fields['calibration']['count']} samples, seed {fields['calibration']['seed']}")
    add_row(table, "time", ", ".join(f"{stage} {value:.1f} s" for stage, value in fields["seconds"].items()))
    out.print(table, markup=False)
    for warning in fields["warnings"]:
        out.print(f"warning: {warning}", style="yellow", markup=False)
