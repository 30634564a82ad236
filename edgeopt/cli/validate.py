"""``edgeopt validate``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ..artifact.envelope import envelope
from .devices import devices_option, runtime_option
from .junit import junit_option, write_junit
from .output import STYLES, console, interval_words, json_option, next_step, readable_bytes, wants_text
from .paths import DATA, FILE, MODEL, path_argument
from .progress import live
from .words import budget_options, image_options, metric_options, parse_size

if TYPE_CHECKING:
    from ..evaluation.report import Scores, ValidationReport


@click.command()
@path_argument("file", FILE, metavar="FILE.tflite")
@click.option(
    "--data",
    required=True,
    type=DATA,
    metavar="DATA",
    help="Samples with labels: .npz with x and y, a folder of images, module:callable.",
)
@click.option("--device", default="local", show_default=True, metavar="NAME[,NAME]", help="Where to run it.")
@devices_option
@runtime_option
@click.option(
    "--threads",
    default=1,
    show_default=True,
    metavar="N",
    help="Threads of one inference; `bench --threads auto` finds how many.",
)
@click.option("--baseline", type=MODEL, metavar="MODEL|FILE.tflite",
              help="What to compare with, on the same samples.")  # fmt: skip
@metric_options("--output-name", "--output")
@budget_options
@click.option("--strict", is_flag=True, help="Exit 5 when the timing does not count: board throttled, busy, emulated.")
@click.option("--seconds", type=float, default=10.0, show_default=True, metavar="S", help="Time at most this long.")
@click.option("--processes", default=9, show_default=True, metavar="N", help="Fresh processes to time in; see bench.")
@click.option("--keep", is_flag=True, help="Leave the outputs on the device until its next run.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Of the bootstrap intervals.")
@image_options
@click.option(
    "--custom-objects",
    multiple=True,
    metavar="module:NAME",
    help="Custom layer or function in the baseline; may be repeated.",
)
@click.option("--unsafe-load", is_flag=True, help="Allow Python code stored in the baseline to run.")
@json_option
@junit_option
def command(
    file: str, json_path: str | None, junit_path: str | None, proven: bool, strict: bool, **options: Any
) -> None:
    """Measure accuracy and latency of FILE.tflite on a device, and judge a budget (exit 4 when a line is missed).

    The file's own scale and zero point quantise the data; accuracy and latency come from one interpreter set-up.
    """
    from ..api.devices import device_names

    names = device_names(options.pop("device"), options["inventory"])
    reports = [_validate(file, {**options, "device": name}) for name in names]
    if wants_text(lambda: _joined(reports), json_path):
        if len(reports) > 1:
            _print_side_by_side(reports)
        for report in reports:
            _print(report)
    if junit_path is not None:
        write_junit(junit_path, "validate", _joined(reports), proven=proven, strict=strict)
    for report in reports:
        if strict:
            report.raise_for_invalid()
        report.raise_for_budget(proven=proven)
    if json_path != "-":
        _print_next(file, names, options)


def _print_next(file: str, names: list[str], options: Mapping[str, Any]) -> None:
    """Say what to run next: the same on a board; there, whether it computes what this machine does."""
    data = str(options["data"])
    if names == ["local"]:
        next_step("validate", file, "--data", data, "--device", "BOARD", why="edgeopt devices add names one")
    else:
        next_step("parity", file, "--device", names[0], "--data", data)


def _joined(reports: list[ValidationReport]) -> Mapping[str, object]:
    """Return one device's report as it is, and those of several under "devices"."""
    from ..evaluation.budget import overall_verdict

    verdict = overall_verdict(line for report in reports for line in report.budget)
    found = [report.to_dict() for report in reports]
    return found[0] if len(found) == 1 else envelope("validate-devices", verdict, {"devices": found})


def _print_side_by_side(reports: list[ValidationReport]) -> None:
    """Print one line a device."""
    from rich import box
    from rich.table import Table

    from ..devices import KernelProfile
    from ..evaluation.figures import figure, interval_ends

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("device", reports[0].scores.metric.name, "95 % interval", "p50 ms", "p95 ms", "runtime", "verdict"):
        table.add_column(name, overflow="fold")
    for report in reports:
        fields = report.to_dict()
        score, timed = report.scores.candidate, fields["latency_ms"]
        table.add_row(
            fields["device"] + (" (emulated: not a measurement)" if fields["emulated"] else ""),
            figure(score.value, score.ci95),
            " to ".join(interval_ends(score.ci95)),
            figure(timed["p50"], timed["p50_ci95"]),
            figure(timed["p95"]),
            str(KernelProfile(**fields["kernel_profile"])),
            report.verdict,
        )
    console().print(table)


def _validate(file: str, options: dict[str, Any]) -> ValidationReport:
    """Turn the command line's words into arguments and validate."""
    from ..api.baseline import Baseline
    from ..api.validate import validate
    from ..devices import BenchPlan
    from ..evaluation.budget import LIMITS, Budget

    limits = {name: options.pop(name) for name in LIMITS}
    loading = {name: options.pop(name) for name in ("custom_objects", "unsafe_load")}
    baseline = options.pop("baseline")
    seconds, processes = options.pop("seconds"), options.pop("processes")
    options["image_size"] = parse_size(options["image_size"])
    with live("reading the data") as display:
        return validate(
            file,
            baseline=None if baseline is None else Baseline(baseline, **loading),
            budget=Budget(**limits),
            bench=BenchPlan(min_seconds=min(2.0, seconds), max_seconds=seconds, processes=processes),
            on_progress=display.progress,
            **options,
        )


def _print(report: ValidationReport) -> None:
    from rich.table import Table

    from ..devices import KernelProfile
    from ..evaluation.budget import unproven_warnings

    fields = report.to_dict()
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("file", f"{fields['artifact']}, {readable_bytes(fields['size_bytes'])}")
    table.add_row("device", f"{fields['device']}: {KernelProfile(**fields['kernel_profile'])}")
    if fields["images"] is not None:
        table.add_row("images", _images_line(fields["images"]))
    for name, text in _score_rows(report.scores, ""):
        table.add_row(name, text)
    if report.overlap is not None and report.overlap.clean is not None:
        for name, text in _score_rows(report.overlap.clean, " (clean samples)"):
            table.add_row(name, text)
    for name, text in _latency_rows(fields):
        table.add_row(name, text)
    for line in report.budget:
        table.add_row("budget", str(line), style=STYLES[line.verdict])
    out = console()
    out.print(table, markup=False)
    for warning in (*report.warnings, *unproven_warnings(report.budget)):
        out.print(f"warning: {warning}", style="yellow", markup=False)


def _images_line(images: dict[str, Any]) -> str:
    """Say how the images of a folder were read, and how many were not as the input is."""
    height, width = images["size"]
    adapted = "".join(f", {count} {what}" for what, count in images["adapted"].items())
    return f"{height}x{width} ({images['resize']}), {images['scaling']}, decoded by {images['decoder']}{adapted}"


def _score_rows(scores: Scores, suffix: str) -> list[tuple[str, str]]:
    from ..evaluation.figures import figure, with_interval

    ours = scores.candidate
    rows = [(f"{scores.metric.name}{suffix}", f"{with_interval(ours.value, ours.ci95)} on {scores.samples} samples")]
    if scores.baseline is not None and scores.drop is not None and scores.drop_ci95 is not None:
        rows.append((f"baseline{suffix}", figure(scores.baseline.value, scores.baseline.ci95)))
        rows.append((f"drop{suffix}", f"{with_interval(scores.drop, scores.drop_ci95, signed=True)}, paired"))
    if scores.agreement is not None:
        rows.append((f"agreement{suffix}", f"{scores.agreement:.4f} of the samples get the same class"))
    return rows


def _latency_rows(fields: dict[str, Any]) -> list[tuple[str, str]]:
    from ..evaluation.figures import figure, with_interval

    figures, runs, after = fields["latency_ms"], fields["latency_runs"], fields["conditions"]["after"]
    ends = interval_words(len(runs["process_p50_ms"]), runs["no_interval"])
    median = with_interval(figures["p50"], figures["p50_ci95"], ends=ends)
    load = "unknown" if not after["load_average"] else f"{after['load_average'][0]:.2f}"
    governor = "unknown" if after["governors"] is None else " ".join(after["governors"])
    heat = "unknown" if after["temperature_c"] is None else f"{after['temperature_c']:.1f} °C"
    tail = ", ".join(f"{name} {figure(figures[name])}" for name in ("p90", "p95", "p99", "mean"))
    steady = "stable" if runs["stable"] else "not stable"
    return [
        ("latency", f"p50 {median} ms, {tail}"),
        (
            "cold start",
            "{cold} ms (load {load}, first inference {first})".format(
                **{name: figure(figures[name]) for name in ("cold", "load", "first")}
            ),
        ),
        ("runs", f"{runs['runs']} in {runs['seconds']:.1f} s, median {steady}"),
        ("conditions", f"load {load}, governor {governor}, temperature {heat}"),
    ]
