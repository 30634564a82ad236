"""What each technique of a recipe bought: raw size, zipped size, MACs and latency, by measurement, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from .result import Figures, Latency, Stage

_WORDS = {
    "size_bytes": "the raw size",
    "gzip_bytes": "the zipped size",
    "macs": "the MACs",
    "latency_ms": "the latency here",
}
# Smaller changes of a size come from names and metadata in the file, not from the technique.
_SIZE_TOLERANCE = 0.01


@dataclass(frozen=True)
class Share:
    """A fraction in [0, 1], before and after a technique."""

    before: float
    after: float


@dataclass(frozen=True)
class Change:
    """A measure of the file's cost, before and after a technique.

    Attributes:
        before: The value before; None where it was not measured.
        after: The value afterwards; None where it was not measured.
        changed: Whether the two differ: by more than 1 % for a size or a number of MACs; for a latency (its median),
            where the 95 % intervals do not overlap.
    """

    before: float | None
    after: float | None
    changed: bool


@dataclass(frozen=True)
class Compression:
    """What one pass changed of the file before it.

    Attributes:
        stage: Name of the stage that the pass made.
        kind: Kind of the pass.
        size_bytes: The raw size.
        gzip_bytes: The zipped size.
        macs: Multiply-accumulates of one inference.
        latency_ms: The median latency on the device, in milliseconds.
        sparsity: Zeros among the kernels' integers.
        summary: The changes in one sentence, without its full stop.
        note: What the technique buys and what it does not, and what else was measured of the file.
    """

    stage: str
    kind: str
    size_bytes: Change
    gzip_bytes: Change
    macs: Change
    latency_ms: Change
    sparsity: Share
    summary: str
    note: str

    def to_dict(self) -> dict[str, object]:
        """Return the entry as JSON values."""
        return asdict(self)


def compression_report(stages: Sequence[Stage]) -> tuple[Compression, ...]:
    """Return, for each pass, what it changed of the file before it."""
    return tuple(_entry(before, after) for before, after in pairwise(stages))


def _entry(before: Stage, after: Stage) -> Compression:
    old, new = before.figures, after.figures
    changes = {
        "size_bytes": _change(old["size_bytes"], new["size_bytes"]),
        "gzip_bytes": _change(old["gzip_bytes"], new["gzip_bytes"]),
        "macs": _change(old["macs"], new["macs"]),
        "latency_ms": _latency_change(old["latency_ms"], new["latency_ms"]),
    }
    return Compression(
        after.name,
        after.kind,
        **changes,
        sparsity=Share(old["sparsity"], new["sparsity"]),
        summary=_summary(changes),
        note=" ".join(filter(None, (after.note, _densify(new)))),
    )


def _densify(figures: Figures) -> str:
    """Return what sparse kernels cost, where the file has some."""
    count = figures.get("densify_ops", 0)
    if not count:
        return ""
    return (
        f"The kernels lie in the file in TFLite's sparse format; {count} DENSIFY operators expand them to "
        f"{figures['expanded_weight_bytes']:,} bytes of memory when the file is loaded."
    )


def _change(old: int, new: int) -> Change:
    return Change(old, new, abs(new - old) > _SIZE_TOLERANCE * max(old, 1))


def _latency_change(old: Latency | None, new: Latency | None) -> Change:
    if old is None or new is None:
        return Change(None, None, changed=False)
    apart = old["p50_ci95"][1] < new["p50_ci95"][0] or new["p50_ci95"][1] < old["p50_ci95"][0]
    return Change(old["p50"], new["p50"], bool(apart))


def _summary(changes: Mapping[str, Change]) -> str:
    """Return one sentence: what changed by how much, and what did not."""
    moved, stayed = [], []
    for name, change in changes.items():
        if change.changed and change.before and change.after is not None:
            moved.append(f"{_WORDS[name]} to {change.after / change.before:.2f}x")
        elif change.before is not None:
            stayed.append(_WORDS[name])
    parts = [f"changed {_list(moved)}"] if moved else ["changed nothing of the file's cost"]
    if moved and stayed:
        parts.append(f"left {_list(stayed)} as before")
    return ", ".join(parts)


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
