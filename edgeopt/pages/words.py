"""Numbers and times as a page says them."""

from __future__ import annotations

from ..evaluation.figures import figure, interval_ends, readable_bytes
from .document import Cell
from .measured import flaws_of
from .records import Timing


def bytes_cell(count: int | None) -> Cell:
    """Return a number of bytes; a dash where it is not known."""
    return Cell("–") if count is None else Cell(readable_bytes(count), f"{count:,} B" if count >= 1024 else "")


def count_cell(count: int | None) -> Cell:
    """Return a large number in thousands or millions."""
    if count is None:
        return Cell("–")
    if count < 10_000:
        return Cell(f"{count:,}")
    return Cell(f"{count / 1e6:,.2f} M" if count >= 1_000_000 else f"{count / 1e3:,.1f} k")


def time_cell(timing: Timing | None) -> Cell:
    """Return the median of a timing, its interval, and whether it counts."""
    times = None if timing is None else timing.get("latency_ms")
    if timing is None or times is None or "p50" not in times:
        return Cell("–")
    ends = times.get("p50_ci95")
    flaws = flaws_of(timing)
    told = " to ".join(interval_ends(ends)) if ends is not None else "no interval"
    return Cell(f"{figure(times['p50'], ends)} ms", told, mark="unsure" if flaws else "none")


def percent(share: float | None) -> str:
    """Return a share in per cent; a dash for none."""
    return "–" if share is None else f"{100 * share:.1f} %"
