"""``edgeopt sensitivity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .model_explorer import model_explorer_option, write_node_data
from .output import add_row, console, json_option, next_step, wants_text
from .paths import DATA, MODEL, path_argument
from .progress import live
from .words import image_options, metric_options, parse_shape, parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from ..evaluation.sensitivity import OperatorSensitivity, SensitivityReport

_MOST = 20
_ANY = 10_000  # columns: as many as a table likes
_HEADS = ("operator", "of layer", "MACs", "noise", "after", "alone", "int8", "float")
_OPTIONS = {"image_size": "--image-size", "image_scaling": "--image-scaling", "image_resize": "--resize"}
_TAIL = 30  # characters of a tensor's name, where no layer is known


@click.command("sensitivity")
@path_argument("model", MODEL)
@click.option("--calibration", required=True, type=DATA, metavar="DATA",
              help="Samples that make the ranges, as of convert.")  # fmt: skip
@click.option("--data", type=DATA, metavar="DATA", help="Samples with labels: what each operator does to the metric.")
@metric_options("--output-name", "--output", when="With --data: ")
@click.option("--recipe", metavar="FILE.toml", help="Take settings from the [convert] table of a TOML recipe.")
@click.option("--calibration-samples", type=int, metavar="N", help="How many samples make the ranges (200).")
@click.option("--seed", type=int, metavar="N", help="Picks the samples (0).")
@click.option("--ranges", metavar="minmax|percentile|mse|best", help="How the ranges are found (best).")
@click.option("--edges", metavar="auto|int8", help="Whether operators at inputs and outputs may stay float (auto).")
@click.option("--input-shape", multiple=True, metavar="NAME=1,96,96,3", help="Shape of an input; may be repeated.")
@image_options
@click.option("--custom-objects", multiple=True, metavar="module:NAME", help="Custom layer or function in the model.")
@click.option("--unsafe-load", is_flag=True, help="Allow Python code stored in the model file to run.")
@click.option("--all", "all_rows", is_flag=True, help=f"Show all operators, not only the worst {_MOST}.")
@model_explorer_option("each operator's share of the noise")
@json_option
def command(
    model: str,
    calibration: str,
    data: str | None,
    metric: str,
    output_name: str | None,
    recipe: str | None,
    all_rows: bool,
    json_path: str | None,
    explorer_path: str | None,
    **options: Any,
) -> None:
    """Say which operators of MODEL lose the accuracy of its int8 file, the worst first, and what would help each.

    MODEL (.keras, .h5, or a SavedModel folder) is calibrated once, and quantised again twice for each operator: with
    only that one float, and with only that one int8. Nothing is written but what --json asks for.
    """
    from ..api.sensitivity import sensitivity
    from ..recipes.convert import convert_recipe_from_file

    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "input_shape" in given:
        given["input_shapes"] = dict(map(parse_shape, given.pop("input_shape")))
    if "image_size" in given:
        given["image_size"] = parse_size(given["image_size"])
    with live() as display:
        report = sensitivity(
            model,
            calibration=calibration,
            data=data,
            metric=metric,
            output_name=output_name,
            recipe=None if recipe is None else convert_recipe_from_file(recipe),
            on_event=display.event,
            **given,
        )
    if explorer_path is not None:
        from ..pages.model_explorer import noise_data

        write_node_data(explorer_path, lambda: noise_data(report.operators))
    if wants_text(report.to_dict, json_path):
        _print(report, all_rows)
        read_so = [] if recipe is None else ["--recipe", recipe]
        for name in ("image_size", "image_scaling", "image_resize"):
            if options[name] is not None:
                read_so += [_OPTIONS[name], options[name]]
        worst = ["--float-ops", "auto"] if report.verdict == "unfaithful" else []
        next_step("convert", model, "--calibration", calibration, *read_so, *worst)


def _print(report: SensitivityReport, all_rows: bool) -> None:
    from rich.measure import Measurement

    out = console()
    kept = "held back" if report.held_back else "that calibrated it"
    out.print(
        f"int8 file    {report.snr_db:.1f} dB on {report.samples} samples {kept}, ranges {report.ranges}", markup=False
    )
    if (metric := report.metric) is not None:
        out.print(
            f"{metric.name:<12} {metric.float_value:.4f} float, {metric.int8_value:.4f} int8, {metric.samples} samples",
            markup=False,
        )
    out.print("columns      signal to noise in dB: after it; alone; of the outputs with only it int8, only it float")
    shown = report.operators if all_rows else report.operators[:_MOST]
    metrics = () if report.metric is None else (f"{report.metric.name} int8", "float")
    table = _table(shown, metrics, narrow=False)
    room = Measurement.get(out, out.options.update(max_width=_ANY), table).maximum <= out.width
    # Figures are never folded or cut: where there is no room for all of them, ranges are left out (--json has them).
    out.print(table if room else _table(shown, metrics, narrow=True))
    if len(shown) < len(report.operators):
        out.print(f"... and {len(report.operators) - len(shown)} more (--all shows them)", markup=False)
    advised: dict[str, dict[str, None]] = {}
    for row in shown:
        if row.remedy:
            advised.setdefault(f"{row.remedy}: {row.advice}", {})[row.layer or row.op] = None
    for advice, layers in advised.items():
        out.print(f"{advice}: {', '.join(layers)}", markup=False)
    for warning in report.warnings:
        out.print(f"warning: {warning}", style="yellow", markup=False)


def _table(rows: Sequence[OperatorSensitivity], metrics: Sequence[str], *, narrow: bool) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0) if narrow else (0, 1))
    for head in (*_HEADS, *(() if narrow else ("range",)), *metrics, "remedy"):
        left = head in ("operator", "of layer", "remedy")
        folds = narrow and head == "of layer"
        table.add_column(head, justify="left" if left else "right", no_wrap=not folds, overflow="fold")
    for row in rows:
        cells = _cells(row)
        add_row(table, *cells[: len(_HEADS)], *cells[len(_HEADS) + narrow :])
    return table


def _cells(row: OperatorSensitivity) -> tuple[str, ...]:
    marks = (f", outliers {row.outliers:.0f}x" if row.outliers >= 4 else "") + (
        f", {row.saturated:.1%} outside" if row.saturated >= 0.001 else ""
    )
    effect = row.metric
    return (
        f"{row.index} {row.op}",
        row.layer or row.tensor[-_TAIL:],
        f"{row.macs_share:.1%}",
        f"{row.noise_share:.1%}",
        _decibels(row.snr_db),
        _decibels(row.here_db),
        _decibels(row.only_int8_db),
        _decibels(row.only_float_db),
        f"{row.low:.3g} to {row.high:.3g}{marks}",
        *(() if effect is None else (f"{effect.only_int8:.4f}", f"{effect.only_float:.4f}")),
        row.remedy or "-",
    )


def _decibels(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"
