"""``edgeopt bench``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .devices import devices_option, runtime_option
from .junit import junit_option, write_junit
from .output import console, interval_words, json_option, next_step, readable_bytes
from .progress import live

if TYPE_CHECKING:
    from rich.table import Table

    from ..devices import BenchReport
    from ..devices.agent.records import OpProfile
    from ..devices.bench import BenchRun

SLOWEST = 5  # operators that are printed; the JSON has all


@click.command()
@click.argument("file", metavar="FILE.tflite")
@click.option("--device", default="local", show_default=True, metavar="NAME[,NAME]", help="Where to run it.")
@devices_option
@click.option("--threads", default="1", show_default=True, metavar="N[,N]", help="Threads of one inference.")
@click.option("--runs", type=int, metavar="N", help="Time exactly this many runs.")
@click.option("--seconds", type=float, metavar="S", help="Time for this long; 300 shows throttling over time.")
@click.option(
    "--warmup", type=int, metavar="N", help="Runs before the timing, in each process.  [default: 5, and 0.1 s]"
)
@click.option("--processes", type=int, metavar="N", help="Fresh processes to time in; see the interval.  [default: 9]")
@runtime_option
@click.option("--kernels", default="default", show_default=True, metavar="default|builtin|reference")
@click.option("--delegate", metavar="edgetpu|LIBRARY", help="Run the model with it.")
@click.option("--against", metavar="OTHER.tflite", help="Time the two in turns, and give the ratio with its interval.")
@click.option("--data", metavar="DATA", help="Run the first of these samples, in place of noise.")
@click.option("--op-profile/--no-op-profile", default=True, show_default=True, help="The time of each operator, too.")
@click.option("--keep", is_flag=True, help="Leave the run's folder on the device until its next run.")
@click.option("--strict", is_flag=True, help="Exit 5 when the board throttled, was busy, or is emulated.")
@json_option
@junit_option
def command(
    file: str,
    device: str,
    threads: str,
    json_path: str | None,
    junit_path: str | None,
    strict: bool,
    inventory: str | None,
    **options: Any,
) -> None:
    """Time FILE.tflite on a device: cold start and steady state apart, with a 95 % interval and the conditions."""
    from ..api.bench import bench
    from ..api.devices import device_names
    from ..artifact.envelope import envelope, write_json
    from ..devices import bench_plan

    plan = bench_plan(**{name: options.pop(name) for name in ("runs", "seconds", "warmup", "processes")})
    counts, reports = _counts(threads), []
    for name in device_names(device):
        with live(f"starting on {name}") as display:
            told = {"on_progress": display.progress, **options}
            found = bench(file, device=name, inventory=inventory, threads=counts, plan=plan, **told)
        reports.append(found)
    if json_path is not None or junit_path is not None:
        verdict = "invalid" if any(report.verdict == "invalid" for report in reports) else "ok"
        fields = [{"artifact": file, **report.fields()} for report in reports]
        result = (
            envelope("bench", verdict, fields[0])
            if len(fields) == 1
            else envelope("bench-devices", verdict, {"devices": fields})
        )
        write_junit(junit_path, "bench", result, strict=strict)
        if json_path is not None:
            write_json(result, json_path)
    if json_path != "-":
        _print(file, reports)
        where = [] if device == "local" else ["--device", device]
        next_step("validate", file, "--data", "TEST_DATA", *where, why="how good its answers are")
    if strict:
        for report in reports:
            report.raise_for_invalid()


def _counts(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--threads is {text!r}; expected whole numbers with commas between them.") from error


def _print(file: str, reports: list[BenchReport]) -> None:
    out = console()
    facts = reports[0].facts
    arena = (
        "" if facts["arena_bytes"] is None else f", activation arena {readable_bytes(facts['arena_bytes'])} (planned)"
    )
    out.print(f"{file}, {readable_bytes(facts['size_bytes'])}{arena}", markup=False)
    out.print(_table(reports))
    for report in reports:
        for run in report.runs:
            for text, style in _remarks(run, file):
                out.print(text, style=style, markup=False)


def _table(reports: list[BenchReport]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("device", "runtime", "threads", "p50 ms", "95 % interval", "p95", "cold", "runs", "peak memory"):
        table.add_column(name, justify="left" if name in ("device", "runtime") else "right", overflow="fold")
    for report in reports:
        for run in report.runs:
            table.add_row(*_cells(report, run))
    return table


def _cells(report: BenchReport, run: BenchRun) -> tuple[str, ...]:
    from ..evaluation.figures import figure

    figures, profile = run.latency.figures, run.measurement.kernel_profile
    several = len(run.latency.runs["process_p50_ms"]) > 1
    kernels = "" if profile.kernels == "default" else f", {profile.kernels}"
    peak = run.latency.conditions["peak_rss_bytes"]
    return (
        report.device + (" (emulated: not a measurement)" if run.latency.emulated else ""),
        f"{profile.runtime} {profile.version}, {profile.delegate}{kernels}",
        str(profile.threads),
        figure(figures["p50"], figures["p50_ci95"]),
        _interval(figures["p50_ci95"]) + ("" if several or not figures["p50_ci95"] else " (of this one process)"),
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
    layers = profiled_layers(read_model(read_file(file)), operators)
    slowest = sorted(zip(operators, layers, strict=True), key=lambda item: -item[0]["ms"])[:SLOWEST]
    lines = [f"  {item['ms']:.3f} ms ({100 * item['share']:.0f} %) {item['op']}{f' of {layer}' if layer else ''}"
             for item, layer in slowest]  # fmt: skip
    threads = run.measurement.kernel_profile.threads
    of = f"{threads} thread{'s' if threads > 1 else ''}"
    return [(f"slowest operators, one inference, {of}{note}:\n" + "\n".join(lines), "")] if lines else []
