"""Markdown tables of the cells of `compression.py`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

TITLES = {
    "cifar10": "CIFAR-10, ResNet-8",
    "fashion": "Fashion-MNIST, a CNN of 32-64-64 channels",
    "watch": "Smartwatch recordings, a 1-D CNN",
    "wide": "Fashion-MNIST, an over-provisioned CNN of 128-128-256 channels",
}
ROWS = {
    "ptq": "int8, PTQ",
    "qat": "int8, QAT",
    "prune50-pqat": "prune 50 %, PQAT",
    "prune50-distil-pqat": "prune 50 %, distil, PQAT",
    "prune80-pqat": "prune 80 %, PQAT",
    "prune2of4-pqat": "prune 2:4, PQAT",
    "cluster16-cqat": "cluster 16, CQAT",
    "prune50-cluster16-pcqat": "prune 50 %, cluster 16, PCQAT",
    "channels25-distil-qat": "channels -25 % MACs, distil, QAT",
    "channels50-distil-qat": "channels -50 % MACs, distil, QAT",
    "channels75-distil-qat": "channels -75 % MACs, distil, QAT",
    **{f"latency{share}-distil-qat": f"channels for {share} % of the time, distil, QAT" for share in (60, 48, 44, 40)},
    "narrow75-distil-qat": "narrowed to 75 % MACs, distil, QAT",
    "narrow50-distil-qat": "narrowed to 50 % MACs, distil, QAT",
    "narrow25-distil-qat": "narrowed to 25 % MACs, distil, QAT",
}
COLUMNS = ("", "seeds", "accuracy % (95 %)", "bytes", "zipped", "MACs", "tflite_runtime", "ai_edge_litert")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def tables(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a table for each task that has cells."""
    order = list(ROWS)
    parts = []
    for task, title in TITLES.items():
        found = [record for record in records if record["task"] == task]
        rows = [
            [one for one in found if one["row"] == row]
            for row in sorted({one["row"] for one in found}, key=order.index)
        ]
        if not rows:
            continue
        lines = [line for row in rows for line in _lines(row)]
        first = rows[0][0]
        longer = sorted({one["epochs"] for one in found} - {first["epochs"]})
        epochs = f"{first['base_epochs']} epochs for the float model that all begin with, then {first['epochs']} a row"
        if longer:
            epochs += f" ({', '.join(map(str, longer))} for those that begin with random weights)"
        parts.append(f"**{title}**: {first['samples']:,} test samples; {epochs}.\n\n{HEAD}\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _lines(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a row's line; for PTQ also the float model's."""
    first = cells[0]
    lines = []
    if "float" in first:
        floats = [{**one["float"], "samples": one["samples"]} for one in cells]
        lines.append(_line("float32", floats, ["-", "-"]))
    ratios = ["1", "1"] if first["row"] == "ptq" else [_ratio(cells, runtime) for runtime in COLUMNS[-2:]]
    return [*lines, _line(ROWS[first["row"]], cells, ratios)]


def _ratio(cells: Sequence[Mapping[str, Any]], runtime: str) -> str:
    timed = [one["latency"][runtime] for one in cells]
    ratio = statistics.median(one["ratio_to_ptq"] for one in timed)
    low, high = min(one["ratio_ci95"][0] for one in timed), max(one["ratio_ci95"][1] for one in timed)
    return f"{ratio:.2f} ({low:.2f}-{high:.2f})"


def _line(title: str, cells: Sequence[Mapping[str, Any]], ratios: Sequence[str]) -> str:
    accuracy = statistics.mean(one["accuracy"] for one in cells)
    low = min(one["accuracy_ci95"][0] for one in cells)
    high = max(one["accuracy_ci95"][1] for one in cells)
    sizes = [f"{round(statistics.mean(one[name] for one in cells)):,}" for name in ("size_bytes", "gzip_bytes", "macs")]
    scored = f"{100 * accuracy:.1f} ({100 * low:.1f}-{100 * high:.1f})"
    return f"| {title} | {len(cells)} | {scored} | {' | '.join([*sizes, *ratios])} |"
