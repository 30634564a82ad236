"""What each technique of a recipe bought: raw size, zipped size, MACs and latency, by measurement, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from .result import Stage

_MEASURES = ("size_bytes", "gzip_bytes", "macs", "latency_ms")
_WORDS = {
    "size_bytes": "the raw size",
    "gzip_bytes": "the zipped size",
    "macs": "the MACs",
    "latency_ms": "the latency here",
}
# Smaller changes of a size come from names and metadata in the file, not from the technique.
_SIZE_TOLERANCE = 0.01

_NOTES = {
    "prune": "Zeros take their place in the file and their time in the kernels like any other value; only a zip, such "
    "as an app's package or an update, gets smaller.",
    "m_by_n": "The TFLite runtimes measured here have no kernels for m:n patterns, so that 2:4 buys nothing over "
    "unstructured zeros, at a higher price in accuracy.",
    "channels": "Removed channels are gone from the file and from the work; half of the MACs is seldom half of the "
    "time.",
    "cluster": "Few distinct values take as many bytes as many do; only a zip gets smaller.",
    "distil": "Distillation changes the accuracy of a model, not its cost; a student costs what its shape costs.",
    "finetune": "Training changes the accuracy of a model, not its cost.",
    "qat": "The file has the size and the speed of any int8 file of this model; what it buys is accuracy.",
}


def compression_report(stages: Sequence[Stage]) -> tuple[dict[str, Any], ...]:
    """Return, for each pass, what it changed of the file before it.

    Each entry has ``stage`` and ``kind``; for each of ``size_bytes``, ``gzip_bytes``, ``macs`` and ``latency_ms`` the
    values ``before`` and ``after`` and whether it ``changed``; and ``summary`` and ``note`` in words. A size or a
    number of MACs changed when the two differ by more than 1 %; a latency (its median), when the 95 % intervals do
    not overlap.
    """
    return tuple(_entry(before, after) for before, after in pairwise(stages))


def _entry(before: Stage, after: Stage) -> dict[str, Any]:
    changes = {name: _change(name, before.figures, after.figures) for name in _MEASURES}
    kind = "m_by_n" if after.kind == "prune" and after.report.get("pattern", "").count(":") else after.kind
    return {
        "stage": after.name,
        "kind": after.kind,
        **changes,
        "sparsity": {"before": before.figures["sparsity"], "after": after.figures["sparsity"]},
        "summary": _summary(changes),
        "note": " ".join(filter(None, (_NOTES.get(kind, ""), _densify(after.figures), _agreement(after.report)))),
    }


def _densify(figures: Mapping[str, Any]) -> str:
    """Return what sparse kernels cost, where the file has some."""
    count = figures.get("densify_ops", 0)
    if not count:
        return ""
    expanded = figures["expanded_weight_bytes"]
    return (
        f"The kernels lie in the file in TFLite's sparse format; {count} DENSIFY operators expand them to {expanded:,} "
        "bytes of memory when the file is loaded."
    )


def _agreement(report: Mapping[str, Any]) -> str:
    """Return how far a file is from the model that was trained quantised, where that was measured."""
    found = report.get("agreement", ())
    lines = [
        f"{item['output']}: {item['mean_steps']:.2f} steps apart on average, {item['max_steps']:.1f} at most"
        + ("" if item["same_class"] is None else f", the same class in {item['same_class']:.1%}")
        for item in found
    ]
    return f"The file beside the QAT model, {found[0]['samples']} samples: {'; '.join(lines)}." if lines else ""


def _change(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    if name != "latency_ms":
        old, new = before[name], after[name]
        return {"before": old, "after": new, "changed": abs(new - old) > _SIZE_TOLERANCE * max(old, 1)}
    old, new = before[name], after[name]
    if old is None or new is None:
        return {"before": None, "after": None, "changed": False}
    apart = old["p50_ci95"][1] < new["p50_ci95"][0] or new["p50_ci95"][1] < old["p50_ci95"][0]
    return {"before": old["p50"], "after": new["p50"], "changed": bool(apart)}


def _summary(changes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one sentence: what changed by how much, and what did not."""
    moved, stayed = [], []
    for name, change in changes.items():
        if change["changed"] and change["before"]:
            moved.append(f"{_WORDS[name]} to {change['after'] / change['before']:.2f}x")
        elif change["before"] is not None:
            stayed.append(_WORDS[name])
    parts = [f"changed {_list(moved)}"] if moved else ["changed nothing of the file's cost"]
    if moved and stayed:
        parts.append(f"left {_list(stayed)} as before")
    return ", ".join(parts)


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
