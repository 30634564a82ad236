"""``edgeopt parity``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .devices import devices_option, runtime_option
from .junit import junit_option, write_junit
from .output import console, json_option, next_step, wants_text
from .paths import DATA, FILE, path_argument
from .progress import live

if TYPE_CHECKING:
    from ..devices.parity import ParityReport


@click.command()
@path_argument("file", FILE, metavar="FILE.tflite")
@click.option("--device", required=True, metavar="NAME[,NAME]", help="One device to hold against this machine, or two.")
@devices_option
@click.option("--data", type=DATA, metavar="DATA", help="Samples, real values: .npy, .npz, module:callable.")
@click.option("--samples", default=100, show_default=True, metavar="N", help="Run at most this many of them.")
@click.option("--level", default="L1", show_default=True, metavar="L1|L2|L3", help="L1: equal bits under the reference "
              "kernels. L2: within --max-lsb. L3: the same classes.")  # fmt: skip
@click.option("--max-lsb", default=8, show_default=True, metavar="N", help="Of L2.")
@click.option("--min-agreement", default=0.98, show_default=True, metavar="X", help="Of L3, a fraction.")
@runtime_option
@click.option("--kernels", metavar="default|builtin|reference", help="Default: reference at L1, else default.")
@click.option("--delegate", metavar="edgetpu|gpu|LIBRARY", help="Run the file with it on the device.")
@click.option("--compiled", metavar="FILE_edgetpu.tflite", help="What the device runs with --delegate, in its place.")
@click.option("--threads", default=1, show_default=True, metavar="N", help="Threads of one inference.")
@click.option("--record", metavar="GOLDEN.npz", help="Write samples and outputs of the one device there.")
@click.option("--check", metavar="GOLDEN.npz", help="Hold the one device against what was recorded.")
@click.option("--force", is_flag=True, help="Let --record replace a file.")
@json_option
@junit_option
def command(file: str, device: str, json_path: str | None, junit_path: str | None, **options: Any) -> None:
    """Compare what FILE.tflite gives on two devices, down to the first operator that differs (exit 4 if it must not).

    A difference is shown in steps of the outputs' own quantisation (LSB), with whether the kernels explain it.
    """
    from ..api.devices import device_names
    from ..devices.parity import Limits

    names = device_names(device, options["inventory"])
    if len(names) > 2:
        raise UsageError(f"--device names {len(names)} devices; expected one or two.")
    level, lsb, agreement = (options.pop(name) for name in ("level", "max_lsb", "min_agreement"))
    limits = Limits(level, lsb, agreement)
    record, check = options.pop("record"), options.pop("check")
    if record is not None:
        if junit_path is not None:
            raise UsageError(
                "--junit goes without --record, which judges nothing; --check holds the device against it."
            )
        _record(file, names, record, limits, options, json_path)
        return
    report = _check(file, names, check, limits, options) if check else _compare(file, names, limits, options)
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    result = {**report.to_dict(), "artifact": file, "sha256": digest}
    write_junit(junit_path, "parity", result)
    if wants_text(lambda: result, json_path):
        _print(report)
    report.raise_for_parity()
    if json_path != "-":
        next_step("validate", file, "--data", options["data"] or "TEST_DATA", "--device", names[0])


def _compare(file: str, names: list[str], limits: Any, options: dict[str, Any]) -> ParityReport:
    from ..api.parity import parity

    options = {**options, "kernels": options["kernels"] or "default"}
    options.pop("force")
    if options["data"] is None:
        raise UsageError("--data is missing: the samples that both devices are to run.")
    other = names[1] if len(names) == 2 else "local"
    with live(f"starting on {other} and {names[0]}") as display:
        return parity(file, device=names[0], other=other, limits=limits, on_progress=display.progress, **options)


def _record(
    file: str, names: list[str], path: str, limits: Any, options: dict[str, Any], json_path: str | None
) -> None:
    from ..api.parity import record_golden
    from ..artifact.envelope import envelope, write_json

    if options["data"] is None:
        raise UsageError("--data is missing: the samples to be recorded.")
    if options.pop("delegate") is not None or options.pop("compiled") is not None:
        raise UsageError("--record goes without --delegate: golden vectors come from the plain kernels.")
    options = {**options, "kernels": options["kernels"] or "default"}
    with live(f"recording on {names[0]}"):
        golden = record_golden(file, path, device=names[0], limits=limits, **options)
    profile = golden.measurement.kernel_profile
    if json_path is not None:
        fields = {"golden": path, "sha256": golden.sha256, "device": names[0], "kernel_profile": profile.to_dict()}
        write_json(envelope("parity-golden", "ok", fields), json_path)
    if json_path != "-":
        console().print(f"Recorded {path} on {names[0]}: {profile}", markup=False)
        next_step("parity", file, "--device", "OTHER_BOARD", "--check", path)


def _check(file: str, names: list[str], path: str, limits: Any, options: dict[str, Any]) -> ParityReport:
    from ..api.parity import check_golden

    kept = {name: options[name] for name in ("inventory", "runtime", "threads", "kernels")}
    with live(f"running the recorded samples on {names[0]}"):
        return check_golden(file, path, device=names[0], limits=limits, **kept)


def _print(report: ParityReport) -> None:
    out = console()
    for side in report.sides:
        out.print(f"{side.device} ({side.machine or 'machine unknown'}): {side.profile}", markup=False)
    found = report.difference
    if found.equal:
        out.print(f"{report.samples} samples: all outputs are equal, bit for bit", style="green")
    else:
        share = f"{100 * found.share:.2f} % of the elements differ"
        out.print(f"{report.samples} samples: {share}, by {found.max_lsb} LSB at most", markup=False)
        histogram = ", ".join(f"{step}: {count}" for step, count in sorted(found.histogram.items()))
        out.print(f"LSB histogram: {histogram}", markup=False)
    if report.agreement is not None:
        out.print(f"classes agree in {100 * report.agreement:.2f} % of the samples", markup=False)
    at = report.first_divergence
    if at is not None:
        where = f"operator {at.tap.operator} ({at.tap.op}), tensor {at.tap.name}"
        out.print(f"first difference: {where}: {at.difference.max_lsb} LSB at most", markup=False)
        histogram = ", ".join(f"{step}: {count}" for step, count in sorted(at.difference.histogram.items()))
        out.print(f"there: {histogram}", markup=False)
    if report.trace_note:
        out.print(report.trace_note, markup=False)
    if not found.equal:
        word = "explained" if report.explained else "NOT explained"
        out.print(f"{word} by the kernel profiles: {report.explanation}", markup=False)
    held = "holds" if report.held else "does not hold"
    out.print(f"{report.limits.level} {held}", style="green" if report.held else "red")
