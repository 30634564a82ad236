"""The Markdown table of the cells of `quantization.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from quantization_methods import METHODS
from quantization_models import CASES

TITLES = {
    "plain": "TFLiteConverter",
    "litert-quantizer": "litert-quantizer",
    "mct": "MCT",
    "edgeopt-minmax": "edgeopt, `--ranges minmax`",
    "edgeopt-best": "edgeopt, `--ranges best`",
    "edgeopt-selective": "edgeopt, `--float-ops auto --min-fidelity 24`",
    "edgeopt-recover": "edgeopt, `--recover`",
}
COLUMNS = ("model", "file", "accuracy %", "drop, points (95 %)", "SNR dB", "bytes", "int8", "time", "warned")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the lines of all cells, model by model, after that of the float file."""
    lines = [HEAD]
    for name, case in CASES.items():
        cells = {one["method"]: one for one in records if one["model"] == name}
        made = [cell for cell in cells.values() if "float" in cell]
        if not made:
            continue
        scored = made[0]["float"]
        title = f"{case.title} ({scored['samples']:,} samples)"
        lines.append(f"| {title} | float | {100 * scored['accuracy']:.1f} |  |  |  |  |  |  |")
        plain = cells["plain"]["cpu_s"] if "plain" in cells else math.nan
        lines += [_line(TITLES[method], cells[method], plain) for method in METHODS if method in cells]
    return "\n".join(lines)


def _line(title: str, cell: Mapping[str, Any], plain_cpu_s: float) -> str:
    if "refused" in cell:
        return f"|  | {title} | no file |  |  |  |  |  |  |"
    low, high = (100 * end for end in cell["drop_ci95"])
    told = cell["warned"]
    words = [
        title,
        f"{100 * cell['accuracy']:.1f}",
        f"{100 * cell['drop']:.1f} ({low:.1f} to {high:.1f})",
        f"{cell['snr_db']:.1f}",
        f"{cell['size_bytes']:,}",
        "yes" if cell["fully_int8"] else f"no{_floats(cell.get('left_float'))}",
        f"{cell['cpu_s'] / plain_cpu_s:.2f}",
        "" if told is None else ("fidelity" if "fidelity" in told else "no"),
    ]
    return f"|  | {' | '.join(words)} |"


def _floats(left: Mapping[str, Any] | None) -> str:
    """Say which part of the work was left float, where that was asked for."""
    if left is None or not left["operators"]:
        return ""
    return f": {left['operators']} operators, {left['macs_share']:.1%} of the MACs"
