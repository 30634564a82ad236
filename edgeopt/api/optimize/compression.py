"""What each technique of a recipe bought: raw size, zipped size, MACs and latency, by measurement, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from ...evaluation.figures import figure, interval_ends
from ...passes.registry import pass_class
from .result import Figures, Stage, Turns

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
        changed: Whether the two differ: by more than 1 % for a size or a number of MACs; for a latency, where the 95 %
            interval of the ratio of the two, timed in turns, is all on one side of 1.
        ratio: The latency's ratio after / before, timed in turns: not that of `after` and `before`, which are of two
            timings, one after the other. None for the other measures, where it was not timed, and where there were too
            few turns for an interval.
        ratio_ci95: Its 95 % interval.
    """

    before: float | None
    after: float | None
    changed: bool
    ratio: float | None = None
    ratio_ci95: tuple[float, float] | None = None


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
    return tuple(_entry(before, after, after.figures.get("against_previous")) for before, after in pairwise(stages))


def overall_change(stages: Sequence[Stage]) -> Compression | None:
    """Return what all passes together changed, from the original's file to the last one; None without a pass."""
    if len(stages) < 2:
        return None
    first, last = stages[0], stages[-1]
    found = _entry(first, last, last.figures.get("against_original"))
    return replace(found, stage=f"{first.name} to {last.name}", kind="", note="")


def _entry(before: Stage, after: Stage, turns: Turns | None) -> Compression:
    old, new = before.figures, after.figures
    changes = {
        "size_bytes": _change(old["size_bytes"], new["size_bytes"]),
        "gzip_bytes": _change(old["gzip_bytes"], new["gzip_bytes"]),
        "macs": _change(old["macs"], new["macs"]),
        "latency_ms": _latency_change(old, new, turns),
    }
    return Compression(
        after.name,
        after.kind,
        **changes,
        sparsity=Share(old["sparsity"], new["sparsity"]),
        summary=_summary(changes),
        note=" ".join(filter(None, (_note(after, changes), _densify(new)))),
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


def _latency_change(old: Figures, new: Figures, turns: Turns | None) -> Change:
    """Return how the latency changed, by the timing in turns, which slows both alike; else no claim is made."""
    before, after = old["latency_ms"], new["latency_ms"]
    if before is None or after is None:
        return Change(None, None, changed=False)
    interval = None if turns is None else turns["ratio_ci95"]
    if turns is None or interval is None or any(item["reason"] == "emulated" for item in turns["unmeasured"]):
        return Change(before["p50"], after["p50"], changed=False)
    low, high = interval
    return Change(before["p50"], after["p50"], high < 1 or low > 1, turns["ratio"], (low, high))


def _note(after: Stage, changes: Mapping[str, Change]) -> str:
    """Return what the technique buys, in words, unless the figures beside it say otherwise."""
    claimed = pass_class(after.kind)
    other = [name for name in claimed.leaves if changes[name].changed]
    idle = [name for name in claimed.changes if not changes[name].changed]
    if not other and not idle:
        return after.note
    if idle:
        return ""
    words = _list([_WORDS[name] for name in other])
    return (
        f"{after.kind} by itself leaves {words} as before: what changed it here is another kind of operators or "
        "kernels in the file; edgeopt inspect shows them."
    )


def _summary(changes: Mapping[str, Change]) -> str:
    """Return one sentence: what changed by how much, what did not, and what the latency did in turns."""
    moved, stayed, shown = [], [], ""
    for name, change in changes.items():
        if name == "latency_ms":
            if change.changed:
                moved.append(f"{_WORDS[name]} to {_in_turns(change)}")
            elif change.ratio is not None:
                shown = f"showed no difference in {_WORDS[name]}: {_in_turns(change)}"
        elif change.changed and change.before and change.after is not None:
            moved.append(f"{_WORDS[name]} to {change.after / change.before:.2f}x")
        else:
            stayed.append(_WORDS[name])
    parts = [f"changed {_list(moved)}" if moved else "", f"left {_list(stayed)} as before" if stayed else "", shown]
    return ", ".join(filter(None, parts))


def _in_turns(change: Change) -> str:
    if change.ratio is None or change.ratio_ci95 is None:
        raise RuntimeError("a latency that was not compared has no ratio")
    low, high = interval_ends(change.ratio_ci95)
    return f"{figure(change.ratio, change.ratio_ci95)}x (timed in turns, 95 % interval {low} to {high})"


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
