"""Where the time goes, and under what each time was taken."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation.figures import figure
from .document import Cell, Section, table
from .evidence import Subject
from .measured import flaws_of, place_of, timings_of
from .operators import timed_operators
from .records import Timing
from .words import percent, time_cell

_MOST_ROWS = 40


def time_part(timing: Timing, subject: Subject) -> Section | None:
    """Return the operators that take most of the time; None where they were not profiled."""
    held = timing.get("op_profile")
    if not held or not held.get("operators"):
        return None
    model = None if subject.inspection is None else subject.inspection.model
    found = timed_operators(model, held["operators"])
    slowest = sorted((item for item in found if item.ms > 0), key=lambda item: -item.share)[:_MOST_ROWS]
    rows = [
        (
            Cell(item.layer or "–"),
            Cell(item.op),
            Cell("–" if item.index is None else str(item.index)),
            Cell(f"{item.ms:.3f}"),
            Cell(percent(item.share), share=min(1.0, max(0.0, item.share))),
        )
        for item in slowest
    ]
    note = "By the runtime's own profiler, whose steps are 0.001 ms."
    if len(slowest) < len(found):
        note += f" {len(found) - len(slowest)} more take less."
    if model is not None and all(item.index is None for item in found):
        note += " It does not tell which operators of the file these are."
    return Section(
        f"Where the time goes ({place_of(timing)})",
        (table("Slowest operators of one inference", ("layers", "as it runs", "operator", "ms", "share"), rows, note),),
    )


def conditions_section(subjects: Sequence[Subject]) -> Section | None:
    """Return under what each number was measured, and whether it counts."""
    rows = [_conditions(subject, timing) for subject in subjects for timing in timings_of(subject)]
    if not rows:
        return None
    columns = ("file", "where", "counts", "runs", "p50", "p95", "cold start", "processor", "load", "governor", "heat")
    note = "A timing of several processes has an interval that holds for the next process, too."
    return Section("Conditions", (table("What each timing was taken under", columns, rows, note),))


def _conditions(subject: Subject, timing: Timing) -> list[Cell]:
    times, runs, held = timing.get("latency_ms") or {}, timing.get("latency_runs", {}), timing.get("conditions", {})
    board, after, flaws = held.get("board", {}), held.get("after", {}), flaws_of(timing)
    load, heat, governors = after.get("load_average"), after.get("temperature_c"), after.get("governors")
    processes = len(runs.get("process_p50_ms", []))
    unsteady = [] if runs.get("stable", True) else ["the median was not stable"]
    return [
        Cell(subject.name),
        Cell(place_of(timing)),
        Cell("no" if flaws else "yes", "; ".join([*dict.fromkeys(flaws), *unsteady]), mark="bad" if flaws else "good"),
        Cell(f"{runs['runs']:,}" if "runs" in runs else "–", f"{processes} processes" if processes > 1 else ""),
        time_cell(timing),
        Cell(_ms(times.get("p95"))),
        Cell(_ms(times.get("cold"))),
        Cell(str(board.get("cpu_model") or board.get("machine") or "unknown"), str(board.get("model") or "")),
        Cell("unknown" if not load else f"{load[0]:.2f}"),
        Cell("unknown" if governors is None else " ".join(governors)),
        Cell("unknown" if heat is None else f"{heat:.1f} °C"),
    ]


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{figure(value)} ms"
