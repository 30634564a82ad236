"""``edgeopt check``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .output import console, json_option, readable_bytes

if TYPE_CHECKING:
    from ..api.check import CheckReport
    from ..check.items import CheckItem

_PIPE_WIDTH = 160
_TARGETS = "prune, channels, cluster, qat or convert; or edgetpu, ethos-u55-128, ..."


@click.command("check")
@click.argument("model", metavar="MODEL")
@click.option("--for", "target", required=True, metavar="STAGE|ACCELERATOR", help=_TARGETS)
@click.option("--min-runtime", "minimum_runtime", type=int, metavar="10..14", help="edgetpu: the board's runtime.")
@click.option("--rules", metavar="FILE.toml", help="edgetpu: rules to use instead of the built-in ones.")
@click.option(
    "-i", "--intermediate-tensors", metavar="NAME,NAME", help="edgetpu: tensors that the mapped part ends at."
)
@click.option("--calibration", metavar="DATA", help="Keras model: samples for the conversion; made up by default.")
@click.option("--custom-objects", multiple=True, metavar="module:NAME", help="Keras model: custom layer or function.")
@click.option("--unsafe-load", is_flag=True, help="Keras model: allow Python code stored in the file to run.")
@json_option
def command(model: str, target: str, json_path: str | None, **options: Any) -> None:
    """Say what a pass, the conversion or an accelerator would do with each part of MODEL, why, and what to do.

    For an accelerator, MODEL is a .tflite file, or a Keras model, which is converted to int8 for the check; the
    compiler need not be there. For the others it is a Keras model; nothing is trained. The exit code is 4 when the
    target would refuse the model.
    """
    from ..api.check import check_model
    from ..report import write_json

    given = {name: value or None for name, value in options.items()}
    if given["intermediate_tensors"]:
        given["intermediate_tensors"] = given["intermediate_tensors"].split(",")
    with console(stderr=True).status(f"checking for {target}"):
        report = check_model(model, target=target, **given)
    if json_path is not None:
        write_json(report.to_dict(), json_path)
    if json_path != "-":
        print_report(report)
    report.raise_if_refused()


def print_report(report: CheckReport) -> None:
    """Print the compiler's kind of table, or one line a layer; with a reason and a remedy on each, and the totals."""
    if "mapped_ops" in report.summary:
        _print_operators(report)
    else:
        _print_layers(report)


def _print_layers(report: CheckReport) -> None:
    """Print what is not simply taken."""
    from rich.text import Text

    out = console()
    if not out.is_terminal:
        out.width = max(out.width, _PIPE_WIDTH)
    out.print(Text(f"{report.model} for {report.target}", "bold"))
    for item in report.items:
        if item.verdict != "ok":
            line = f"  {item.verdict}: {item.name} ({item.kind}) [{item.rule}]: {item.reason}; {item.remedy}"
            out.print(Text("".join(c if c.isprintable() else "\ufffd" for c in line)))
    counts = report.summary["verdicts"]
    out.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()), markup=False)


def _print_operators(report: CheckReport) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    if not out.is_terminal:
        out.width = max(out.width, _PIPE_WIDTH)
    table = Table(title=Text(f"{report.model} for {report.target}", "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.pad_edge = False
    for column in ("Operator", "Count", "Status", "Why", "What to do"):
        table.add_column(column, justify="right" if column == "Count" else "left", overflow="fold")
    for group in _groups(report.items):
        first = group[0]
        why = first.reason + (f" (and {len(group) - 1} more)" if len(group) > 1 and first.reason else "")
        rule = f" [{first.rule}]" if first.rule else ""
        cells = (first.kind, str(len(group)), _status(first), why + rule, first.remedy)
        table.add_row(*(Text("".join(c if c.isprintable() else "\ufffd" for c in cell)) for cell in cells))
    out.print(table)
    for line in _totals(report):
        out.print(line, markup=False)


def _groups(items: Sequence[CheckItem]) -> list[list[CheckItem]]:
    """Return the items that share operator, status and rule, in the order of their first one."""
    groups: dict[tuple[str, str, str | None], list[CheckItem]] = {}
    for item in items:
        groups.setdefault((item.kind, _status(item), item.rule), []).append(item)
    return list(groups.values())


def _status(item: CheckItem) -> str:
    status = str(item.details.get("status", ""))
    return f"unsure: {status}" if item.verdict == "unsure" else status or item.verdict


def _totals(report: CheckReport) -> list[str]:
    summary = report.summary
    counts = {name: sum(summary[f"{name}_ops"].values()) for name in ("mapped", "cpu", "unsure")}
    lines = [f"{counts['mapped']} operators mapped, {counts['cpu']} on the CPU, {counts['unsure']} unsure"]
    macs = {name: summary.get(f"macs_{name}", 0) for name in counts}
    if sum(macs.values()):
        lines[0] += f" ({100 * macs['mapped'] / sum(macs.values()):.1f} % of the MACs mapped)"
    if summary["parameters_cached_bytes"]:
        cached, streamed = summary["parameters_cached_bytes"], summary["parameters_streamed_bytes"]
        lines.append(f"parameters: {readable_bytes(cached)} cached on the chip, {readable_bytes(streamed)} streamed")
    if "sram_bytes" in summary:
        rate, cycles = summary["inferences_per_second"], summary["estimated_cycles"]
        lines.append(
            f"SRAM {readable_bytes(summary['sram_bytes'])}; the compiler estimates {cycles:,} cycles, "
            f"{rate:,.0f} inferences/s ({summary['compiler']}, {summary['system_config']})"
        )
    return [*lines, *(f"note: {note}" for note in summary["notes"])]
