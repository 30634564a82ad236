"""Timing one model, or two in turns, together with the state of the board before, meanwhile and after."""

from __future__ import annotations

import time
from typing import Any, Callable, List, Mapping, Optional, cast

from .conditions import board, heap_bytes, resident_bytes, state
from .latency import BLOCK_NS, alternate, measure
from .plan import Plan
from .records import Conditions, Observation, Timing
from .session import Session, example_inputs

Report = Callable[..., None]


def bench(
    session: Session, samples: Any, bounds: Mapping[str, float], report: Report, other: Optional[Session], part: int
) -> Timing:
    """Time `session`: the first run apart (it is cold), then by `bounds`; then in turns with `other`, if there is one.

    Args:
        session: The model, open at its own batch.
        samples: Data for its inputs, the first of which are run; None for noise (see `session.example_inputs`).
        bounds: What one process does of a timing; see `plan.Plan.split`.
        report: Takes progress: the stage, and the seconds that are behind of how many.
        other: Another model, fed with noise, or None.
        part: Which of the processes this one is, from 0 on.

    Returns:
        What `latency.measure` returns, ``load_ns``, ``first_ns``, ``conditions``, ``observed`` (the state every
        ``observe_seconds``), and ``comparison`` (see `latency.alternate`) if there is another model. Only the first
        process looks for busy programs before, and only the last one after.
    """
    found = Plan.from_data(bounds)
    tell = _shifted(report, part * found.max_seconds, found.processes * found.max_seconds)
    feed = samples.feed(session.inputs, 0, session.inputs[0].shape[0]) if samples else example_inputs(session.inputs)
    before = state(busy=part == 0)
    run = _runner(session, feed)
    first_ns = run()
    grown = {} if other is not None else {"grown_bytes": _grown(session)}
    observed: List[Observation] = []
    result = measure(run, found, tell, lambda seconds, runs: observed.append(_observation(seconds, runs)))
    result["load_ns"], result["first_ns"] = session.load_ns, first_ns
    if other is not None:
        compared = alternate(run, _runner(other, example_inputs(other.inputs)), found, tell)
        result["comparison"] = {**compared, "block_ns": BLOCK_NS, "other_load_ns": other.load_ns}
    after = state(busy=part == found.processes - 1)
    result["observed"], peak = observed, resident_bytes(peak=True)
    around = {"board": board(), "before": before, "after": after, "peak_rss_bytes": peak}
    return {**result, "conditions": cast(Conditions, {**around, **grown})}


def _grown(session: Session) -> Optional[int]:
    """Return how many bytes the process has taken since before `session` was opened, or None.

    It is less than what the file needs where that fits into memory that the process had taken and no longer uses.
    """
    now, before = heap_bytes(), session.heap_before
    return None if now is None or before is None else max(now - before, 0)


def _shifted(report: Report, behind: float, total: float) -> Report:
    """Return a taker of one process's seconds that tells those of all."""
    return lambda stage, done, of: report(stage, int(behind + done), int(total))


def _runner(session: Session, feed: List[Any]) -> Callable[[], int]:
    def run() -> int:
        for tensor, stored in zip(session.inputs, feed):
            session.set(tensor, stored)  # an interpreter may reuse an input's memory while it runs
        start = time.perf_counter_ns()
        session.invoke()
        return time.perf_counter_ns() - start

    return run


def _observation(seconds: float, runs: int) -> Observation:
    """Return the state in the middle of a timing, without the part that would take long."""
    now = dict(state(busy=False))
    kept = ("frequency_mhz", "temperature_c", "throttling", "power_w")
    return cast(Observation, dict({name: now[name] for name in kept}, seconds=seconds, runs=runs))
