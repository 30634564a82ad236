"""The Markdown table of the cells of `bits.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bits_rows import ROWS

TITLES = {"kws": "Keywords, MLPerf Tiny's DS-CNN", "cifar10": "CIFAR-10, MLPerf Tiny's ResNet-8"}
COLUMNS = ("", "accuracy % (95 %)", "bytes", "zipped", "time, ai_edge_litert", "time, tflite_runtime", "time, its own")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a table for each task that has cells, the rows in the order of `ROWS`."""
    parts = []
    for task, title in TITLES.items():
        found = {record["row"]: record for record in records if record["task"] == task}
        lines = [_line(ROWS[row].title, found[row]) for row in ROWS if row in found]
        if lines:
            samples = max(record.get("samples", 0) for record in found.values())
            parts.append(f"**{title}**, {samples:,} test samples\n\n{HEAD}\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _line(title: str, record: Mapping[str, Any]) -> str:
    sizes = [f"{record['size_bytes']:,}", f"{record['gzip_bytes']:,}"]
    if "failed" in record:
        return f"| {title} | the runtime fails | {' | '.join(sizes)} |  |  |  |"
    low, high = record["accuracy_ci95"]
    scored = f"{100 * record['accuracy']:.1f} ({100 * low:.1f}-{100 * high:.1f})"
    times = dict(record["time"])
    usual = [_time(times.pop(runtime, None)) for runtime in ("ai_edge_litert", "tflite_runtime")]
    own = ", ".join(f"{runtime} {_time(found)}" for runtime, found in times.items())
    cells = [title, scored, *sizes, *usual, own]
    return f"| {' | '.join(cells)} |"


def _time(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    if "refused" in found:
        return "refused"
    if "ratio" not in found:
        return f"{found['p50_ms']:.3f} ms"
    low, high = found["ci95"]
    return f"{found['ratio']:.2f} ({low:.2f}-{high:.2f})"
