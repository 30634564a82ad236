"""The tables of `benchmarks/ladder.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
# Model -> its task in `compression.py`.
TASKS = {"resnet8": "cifar10", "wide": "wide", "watch": "watch"}
_EQUAL = 0.003
_DROPS = (
    "model", "budget", "rung", "drop where nothing chose (95 %)", "bytes", "kept", "time / convert + validate",
    "drop, best by hand",
)  # fmt: skip
_TIMES = (
    "model", "rung", "accuracy % where nothing chose", "drop", "time / int8 (95 %)", "cell of `compression.py`",
    "its accuracy %", "its time / int8", "time / its",
)  # fmt: skip


def _head(*columns: str) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def drops(
    cells: Sequence[Record], titles: Mapping[str, str], recipes: Sequence[Record], compressed: Sequence[Record]
) -> str:
    """Return the table of the budgets that are no times.

    Args:
        cells: Of the ladder.
        titles: Of the models, in order.
        recipes: Cells of `quantization.py`: what hand-written options have given of the same models.
        compressed: Cells of `compression.py`: where there are none of those, its recipes of a network alike.
    """
    lines = _head(*_DROPS)
    order = list(titles)
    found = [cell for cell in cells if "turns" not in cell]
    for cell in sorted(found, key=lambda entry: (order.index(entry["model"]), entry["budget"])):
        final, ladder = cell["ladder"]["final"], cell["ladder"]
        low, high = (100 * end for end in _drop(final)[1])
        drop = f"{100 * _drop(final)[0]:.1f} ({low:.1f} to {high:.1f})"
        verdicts = ", ".join(line["verdict"] for line in cell["lines"])
        rung = f"{ladder['recommended']} of {len(cell['rungs'])}"
        head = f"| {titles[cell['model']]} | `{' '.join(cell['limits'])}` | {rung} | {drop}"
        ratio = cell["cpu_s"] / cell["plain_cpu_s"]
        lines.append(
            f"{head} | {final['size_bytes']:,} | {verdicts} | {ratio:.2f} | {_by_hand(cell, recipes, compressed)} |"
        )
    return "\n".join(lines)


def _drop(final: Record) -> tuple[float, Sequence[float]]:
    if "accuracy_drop" in final:
        return final["accuracy_drop"], final["accuracy_drop_ci95"]
    return final["drop"], final["drop_ci95"]


def _by_hand(cell: Record, recipes: Sequence[Record], compressed: Sequence[Record]) -> str:
    """Return the least drop that options of `edgeopt convert` or a recipe reached, and which; "" for none."""
    tried = [entry for entry in recipes if entry["model"] == cell["model"] and entry["method"].startswith("edgeopt-")]
    tried = [entry for entry in tried if "drop" in entry] or _recipes(cell["model"], compressed)
    if not tried or "--max-size-bytes" in cell["limits"]:
        return ""
    best = min(tried, key=lambda entry: entry["drop"])
    return f"{best['method'].removeprefix('edgeopt-')} {100 * best['drop']:.1f}"


def _recipes(model: str, compressed: Sequence[Record]) -> list[Record]:
    own = [entry for entry in compressed if entry["task"] == TASKS.get(model)]
    whole = next((entry["float"]["accuracy"] for entry in own if "float" in entry), None)
    return [] if whole is None else [{"method": entry["row"], "drop": whole - entry["accuracy"]} for entry in own]


def times(cells: Sequence[Record], titles: Mapping[str, str], compressed: Sequence[Record]) -> str:
    """Return the table of the budgets of time, beside the fastest cell of `compression.py` at that accuracy."""
    lines = _head(*_TIMES)
    for cell in cells:
        if "turns" not in cell:
            continue
        final, turns = cell["ladder"]["final"], cell["turns"]
        ratio, (low, high) = turns["ratio"], turns["ratio_ci95"]
        head = f"| {titles[cell['model']]} | {cell['ladder']['recommended']} of {len(cell['rungs'])}"
        head += f" | {100 * final['accuracy']:.1f} | {100 * final['accuracy_drop']:.1f}"
        head += f" | {ratio:.2f} ({low:.2f}-{high:.2f})"
        best = fastest(compressed, TASKS[cell["model"]], final["accuracy"])
        if best is None:
            lines.append(f"{head} | none as accurate | | | |")
            continue
        its = best["latency"]["tflite_runtime"]["ratio_to_ptq"]
        lines.append(f"{head} | {best['row']} | {100 * best['accuracy']:.1f} | {its:.2f} | {ratio / its:.2f} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def fastest(compressed: Sequence[Record], task: str, accuracy: float) -> Record | None:
    """Return the fastest cell of a task, in tflite_runtime, that is at most 0.3 points less accurate; or None."""
    equal = [entry for entry in compressed if entry["task"] == task and entry["accuracy"] >= accuracy - _EQUAL]
    return min(equal, key=lambda entry: entry["latency"]["tflite_runtime"]["ratio_to_ptq"], default=None)
