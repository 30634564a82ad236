"""``edgeopt bench``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .devices import devices_option, runtime_option
from .junit import junit_option, write_junit
from .model_explorer import model_explorer_option, write_node_data
from .output import console, interval_words, json_option, next_step, readable_bytes
from .paths import DATA, FILE, path_argument
from .progress import live

if TYPE_CHECKING:
    from rich.table import Table

    from ..devices import BenchReport, PipelineReport
    from ..devices.agent.records import OpProfile
    from ..devices.bench import BenchRun

SLOWEST = 5  # operators that are printed; the JSON has all


@click.command()
@path_argument("files", FILE, nargs=-1, required=True, metavar="FILE.tflite...")
@click.option("--pipeline", is_flag=True,
              help="The files are the parts of a model, in order: run them side by side, a process each.")  # fmt: skip
@click.option("--queue", type=int, metavar="N", help="Slots between two parts of a pipeline.  [default: 2]")
@click.option("--device", default="local", show_default=True, metavar="NAME[,NAME]", help="Where to run it.")
@devices_option
@click.option(
    "--threads",
    default="1",
    show_default=True,
    metavar="N[,N]|auto",
    help="Threads of one inference, auto the best number, found in turns; of a pipeline one number, or one a part.",
)
@click.option("--runs", type=int, metavar="N", help="Time exactly this many runs.")
@click.option("--seconds", type=float, metavar="S", help="Time for this long; 300 shows throttling over time.")
@click.option(
    "--warmup", type=int, metavar="N", help="Runs before the timing, in each process.  [default: 5, and 0.1 s]"
)
@click.option("--processes", type=int, metavar="N", help="Fresh processes to time in; see the interval.  [default: 9]")
@runtime_option
@click.option("--kernels", default="default", show_default=True, metavar="default|builtin|reference")
@click.option(
    "--delegate", metavar="edgetpu|gpu|LIBRARY", help="Run the model with it; of a pipeline one, or one a part."
)
@click.option(
    "--against",
    type=FILE,
    metavar="OTHER.tflite",
    help="Time the two in turns, and give the ratio with its interval; of a pipeline: the whole.",
)
@click.option(
    "--data",
    type=DATA,
    metavar="DATA",
    help="Run the first of these samples, of a pipeline the first 100, in place of noise.",
)
@click.option("--op-profile/--no-op-profile", default=True, show_default=True, help="The time of each operator, too.")
@click.option("--keep", is_flag=True, help="Leave the run's folder on the device until its next run.")
@click.option("--strict", is_flag=True, help="Exit 5 when the board throttled, was busy, or is emulated.")
@model_explorer_option("the time of each operator")
@json_option
@junit_option
def command(
    files: Sequence[str],
    device: str,
    threads: str,
    json_path: str | None,
    junit_path: str | None,
    explorer_path: str | None,
    strict: bool,
    pipeline: bool,
    queue: int | None,
    **options: Any,
) -> None:
    """Time FILE.tflite on a device: cold start and steady state apart, with a 95 % interval and the conditions.

    With --pipeline the files are the parts of one model, in their order (see "edgetpu segments --cut").
    """
    from ..devices import BenchReport, PipelineReport, bench_plan

    options["plan"] = bench_plan(**{name: options.pop(name) for name in ("runs", "seconds", "warmup", "processes")})
    if not pipeline and (len(files) > 1 or queue is not None):
        raise UsageError("Received several files, or --queue; add --pipeline if they are the parts of one model.")
    if explorer_path is not None and (pipeline or not options["op_profile"] or "," in device):
        raise UsageError("--model-explorer needs the time of each operator: of one file, on one device, profiled.")
    options["threads"] = _counts(threads)
    job = _pipeline_job(files, queue, options) if pipeline else _bench_job(files[0], options)
    from ..api.devices import device_names

    reports: list[BenchReport | PipelineReport] = []
    for name in device_names(device, options["inventory"]):
        with live(f"starting on {name}") as display:
            reports.append(job(device=name, on_progress=display.progress))
    if json_path is not None or junit_path is not None:
        artifact, kind = files[0], "bench"
        if pipeline:
            artifact, kind = options["against"] or files[0], "bench-pipeline"
        _write(kind, artifact, reports, json_path, junit_path, strict)
    if isinstance(reports[0], BenchReport):
        write_node_data(explorer_path, partial(_operator_times, files[0], reports[0]))
    if json_path != "-":
        _show(files[0], reports)
        where = [] if device == "local" else ["--device", device]
        if not pipeline:
            next_step("validate", files[0], "--data", "TEST_DATA", *where, why="how good its answers are")
    for report in reports:
        if isinstance(report, PipelineReport):
            report.raise_for_difference()
    if strict:
        for report in reports:
            report.raise_for_invalid()


def _write(
    kind: str,
    artifact: str,
    reports: Sequence[BenchReport | PipelineReport],
    json_path: str | None,
    junit_path: str | None,
    strict: bool,
) -> None:
    from ..artifact.envelope import envelope, write_json

    verdicts = {report.verdict for report in reports}
    verdict = next((word for word in ("different", "invalid") if word in verdicts), "ok")
    fields = [{"artifact": artifact, **report.fields()} for report in reports]
    result = (
        envelope(kind, verdict, fields[0])
        if len(fields) == 1
        else envelope(f"{kind}-devices", verdict, {"devices": fields})
    )
    write_junit(junit_path, "bench", result, strict=strict)
    if json_path is not None:
        write_json(result, json_path)


def _show(file: str, reports: Sequence[BenchReport | PipelineReport]) -> None:
    from ..devices import BenchReport
    from .bench_pipeline import print_pipeline

    plain = [report for report in reports if isinstance(report, BenchReport)]
    if plain:
        _print(file, plain)
    for report in reports:
        if not isinstance(report, BenchReport):
            print_pipeline(report)


def _operator_times(file: str, report: BenchReport) -> dict[str, Any]:
    from ..flatbuffer import load_model
    from ..pages.model_explorer import latency_data

    return latency_data(load_model(file), report.runs[0].measurement.op_profile)


def _bench_job(file: str, options: Mapping[str, Any]) -> Callable[..., BenchReport]:
    from ..api.bench import bench

    return partial(bench, file, **options)


def _pipeline_job(files: Sequence[str], queue: int | None, options: dict[str, Any]) -> Callable[..., PipelineReport]:
    from ..api.pipeline import bench_pipeline

    if options["threads"] is None:
        raise UsageError("--threads auto is of one file; give a pipeline one number, or one a part.")
    options.pop("op_profile")  # a part's operators are those of a bench of its file
    delegates = (options.pop("delegate") or "").split(",")
    return partial(bench_pipeline, files, queue=queue, delegates=[text for text in delegates if text], **options)


def _counts(text: str) -> list[int] | None:
    if text == "auto":
        return None
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--threads is {text!r}; expected whole numbers with commas between them, or auto.") from error


def _print(file: str, reports: list[BenchReport]) -> None:
    out = console()
    facts = reports[0].facts
    arena = (
        "" if facts["arena_bytes"] is None else f", activation arena {readable_bytes(facts['arena_bytes'])} (planned)"
    )
    out.print(f"{file}, {readable_bytes(facts['size_bytes'])}{arena}", markup=False)
    for report in reports:
        out.print(_ran_on(report), markup=False)
    out.print(_table(reports))
    for report in reports:
        for line in _choice(report):
            out.print(line, markup=False)
        for run in report.runs:
            for text, style in _remarks(run, file):
                out.print(text, style=style, markup=False)


def _choice(report: BenchReport) -> list[str]:
    """Say which number of threads was chosen, and what each of the others gave."""
    if report.choice is None:
        return []
    from ..evaluation.figures import figure

    found = report.choice
    lines = [f"threads: {found.chosen} on {report.device}, of {found.cores} cores"]
    for trial in found.trials:
        compared = trial.comparison
        ratio = f"{figure(compared.ratio, compared.ratio_ci95)} of the time ({_interval(compared.ratio_ci95)})"
        lines.append(f"  {trial.threads} against {trial.held_against}: {ratio}: {compared.verdict}")
    return lines


def _table(reports: list[BenchReport]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    devices = ["device"] if len(reports) > 1 else []
    for name in devices:
        table.add_column(name, overflow="fold")
    for name in ("threads", "p50 ms", "95 % interval", "p95", "cold", "runs", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    for report in reports:
        for run in report.runs:
            table.add_row(*(report.device for _ in devices), *_cells(run))
    return table


def _ran_on(report: BenchReport) -> str:
    """Say what ran it: it is too long for a table beside figures."""
    run = report.runs[0]
    profile = run.measurement.kernel_profile
    kernels = "" if profile.kernels == "default" else f", {profile.kernels}"
    emulated = " (emulated: not a measurement)" if run.latency.emulated else ""
    return f"{report.device}{emulated}: {profile.runtime} {profile.version}, {profile.delegate}{kernels}"


def _cells(run: BenchRun) -> tuple[str, ...]:
    from ..evaluation.figures import figure

    figures = run.latency.figures
    peak = run.latency.conditions["peak_rss_bytes"]
    return (
        str(run.measurement.kernel_profile.threads),
        figure(figures["p50"], figures["p50_ci95"]),
        _interval(figures["p50_ci95"]),
        figure(figures["p95"]),
        figure(figures["cold"]),
        str(run.latency.runs["runs"]),
        "unknown" if peak is None else readable_bytes(peak),
    )


def _interval(ends: Sequence[float] | None) -> str:
    from ..evaluation.figures import interval_ends

    return "none" if ends is None else " to ".join(interval_ends(ends))


def _remarks(run: BenchRun, file: str) -> list[tuple[str, str]]:
    found = [(f"invalid: {item['reason']}: {item['detail']}", "red") for item in run.invalid]
    if run.latency.runs["no_interval"]:
        found.append((f"no interval: {run.latency.runs['no_interval']}", ""))
    elif len(run.latency.runs["process_p50_ms"]) == 1:
        found.append(("the interval is of this one process", ""))
    note = " (emulated: not a measurement)" if run.latency.emulated else ""
    compared = run.latency.comparison
    if compared is not None:
        from ..evaluation.figures import figure

        words, ends = interval_words(compared.processes, compared.no_interval), compared.ratio_ci95
        words = words if ends is None else f"{words} {_interval(ends)}"
        against = f"{figure(compared.ratio, ends)} of the other's time ({words})"
        found.append((f"against: {against}, {compared.pairs} pairs in turns: {compared.verdict}{note}", "bold"))
    if run.slowdown is not None:
        found.append((f"over time: the last part took {run.slowdown:.2f} of the first part's time", "bold"))
        series = " ".join(f"{item['p50_ms']:.3f}" for item in run.over_time())
        found.append((f"p50 ms in parts: {series}{note}", ""))
    energy = run.energy()
    if energy is not None:
        found.append((f"power: {energy.mean_power_w:.2f} W by the board's sensor, idle included", ""))
    found += _operators(run, file, note)
    told = run.measurement.flaws  # above, as invalid
    return found + [(f"warning: {text}", "yellow") for text in run.measurement.warnings if text not in told]


def _operators(run: BenchRun, file: str, note: str) -> list[tuple[str, str]]:
    """Return the operators that take most of the time, with their layers, or why they are not known."""
    from ..flatbuffer import read_file, read_model
    from ..flatbuffer.profiled import profiled_layers

    profile: OpProfile = run.measurement.op_profile or {}
    if "problem" in profile:
        return [(f"operators: not profiled: {profile['problem']}", "")]
    operators = profile.get("operators", [])
    if not operators:
        return []
    layers = profiled_layers(read_model(read_file(file)), operators)
    slowest = sorted(zip(operators, layers, strict=True), key=lambda item: -item[0]["ms"])[:SLOWEST]
    lines = [f"  {item['ms']:.3f} ms ({100 * item['share']:.0f} %) {item['op']}{f' of {layer}' if layer else ''}"
             for item, layer in slowest]  # fmt: skip
    threads = run.measurement.kernel_profile.threads
    of = f"{threads} thread{'s' if threads > 1 else ''}"
    return [(f"slowest operators, one inference, {of}{note}:\n" + "\n".join(lines), "")] if lines else []
