"""What ``edgeopt check`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import printable
from .output import add_row, console, readable_bytes

if TYPE_CHECKING:
    from ..api.fix import FixResult
    from ..check.items import CheckItem
    from ..check.model import CheckReport
    from ..models.rewrite.changes import Change

_COMPILERS = ("Operator", "Count", "Status")
_WIDE = 120  # columns of a terminal in which reasons and remedies stand beside them, unbroken
_NAMES = 4  # of layers with one finding are written out
_NUMBERS = "What int8 costs in number is seen with data, operator by operator: edgeopt sensitivity"


def print_report(report: CheckReport) -> None:
    """Print the compiler's kind of table, or one line a finding; with a reason and a remedy on each, and the totals."""
    if "mapped_ops" in report.summary:
        _print_operators(report)
    elif report.target is None:
        _print_stages(report)
    else:
        _print_layers(report)


def print_fix(model: str, result: FixResult) -> None:
    """Print what was rewritten, what could not be, and how near the outputs are."""
    before, after = result.layers
    _line(f"{model} fixed as {result.output}: {before} layers and operations before, {after} after", "bold")
    for rule, changes in _by_rule(result).items():
        names = _listed([change.layer for change in changes])
        _line(f"  {rule}: {names}: {changes[0].detail}" if len(changes) == 1 else f"  {rule}: {len(changes)} ({names})")
    for entry in result.left:
        _line(f"  left: {entry.layer} [{entry.rule}]: {entry.reason}; {entry.remedy}")
    if not result.changes:
        _line("  nothing to rewrite")
    _line(
        f"same outputs on {result.samples} samples: largest difference {result.max_difference:.2g}, "
        f"{result.relative_difference:.2g} of the outputs' scale"
        + (" (rounding that has added up; each layer by itself agrees)" if result.rounding_added_up else "")
    )


def _by_rule(result: FixResult) -> dict[str, list[Change]]:
    """Return the changes by their rule."""
    found: dict[str, list[Change]] = {}
    for change in result.changes:
        found.setdefault(change.rule, []).append(change)
    return found


def _print_layers(report: CheckReport) -> None:
    """Print what is not simply taken."""
    _line(f"{report.model} for {report.target}", "bold")
    for item in report.items:
        if item.verdict != "ok":
            _line(f"  {item.verdict}: {item.name} ({item.kind}) [{item.rule}]: {item.advice}")
    counts = report.summary["verdicts"]
    _line(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    if report.target == "convert":
        _line(_NUMBERS)


def _print_stages(report: CheckReport) -> None:
    """Print, for all stages at once, what is not simply taken, and a line of totals a stage."""
    from rich import box
    from rich.table import Table

    _line(f"{report.model} for every stage", "bold")
    for names, findings in _alike(report.items):
        _line("  " + names)
        for finding in findings:
            _line("    " + finding)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("stage", "ok", "skipped", "refused"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, counts in report.summary["stages"].items():
        add_row(table, stage, *(str(counts[verdict]) for verdict in ("ok", "skipped", "refused")))
    console().print(table)
    _line(_NUMBERS)
    rules = Counter(fix["rule"] for fix in report.summary["fixes"])
    if rules:
        would = ", ".join(f"{count} {rule}" for rule, count in rules.items())
        _line(f"After training, before convert, --fix would rewrite without a change to the outputs: {would}")


def _alike(items: Sequence[CheckItem]) -> list[tuple[str, list[str]]]:
    """Return layers with the same findings together: their names and class, and a line for each finding."""
    by_layer: dict[tuple[str, str], list[CheckItem]] = {}
    for item in items:
        if item.verdict != "ok":
            by_layer.setdefault((item.name, item.kind), []).append(item)
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (name, kind), found in by_layer.items():
        groups.setdefault((kind, tuple(_findings(found))), []).append(name)
    return [(f"{_listed(names)} ({kind})", list(findings)) for (kind, findings), names in groups.items()]


def _findings(found: Sequence[CheckItem]) -> list[str]:
    """Return a line for each thing that stages say of a layer, with the stages that say it."""
    stages: dict[tuple[str, str], list[str]] = {}
    for item in found:
        stages.setdefault((item.verdict, f"[{item.rule}]: {item.advice}"), []).append(item.stage)
    return [f"{verdict} by {', '.join(who)} {what}" for (verdict, what), who in stages.items()]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def _line(text: str, style: str = "") -> None:
    """Print a line as it is: names come from files, and must neither steer the terminal nor count as markup."""
    console().print(printable(text), style=style, markup=False)


def _print_operators(report: CheckReport) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = console()
    table = Table(title=Text(f"{report.model} for {report.target}", "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.pad_edge = False
    columns = ("Operator", "Count", "Status", "Why", "What to do") if out.width >= _WIDE else _COMPILERS
    for column in columns:
        table.add_column(column, justify="right" if column == "Count" else "left", overflow="fold")
    told = []
    for group in _groups(report.items):
        first = group[0]
        why = first.reason + (f" (and {len(group) - 1} more)" if len(group) > 1 and first.reason else "")
        rule = f" [{first.rule}]" if first.rule else ""
        cells = (first.kind, str(len(group)), _status(first), why + rule, first.remedy)
        add_row(table, *cells[: len(columns)])
        if why and columns is _COMPILERS:
            told.append(f"{first.kind}: {why}{rule}; {first.remedy}")
    out.print(table)
    for line in (*told, *_totals(report)):
        _line(line)


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
        speed = "" if rate is None else f", {rate:,.0f} inferences/s"
        lines.append(
            f"SRAM {readable_bytes(summary['sram_bytes'])}; the compiler estimates {cycles:,} cycles{speed} "
            f"({summary['compiler']}, {summary['system_config']})"
        )
    return [*lines, *(f"note: {note}" for note in summary["notes"])]
