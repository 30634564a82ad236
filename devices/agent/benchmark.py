"""Timing one model, or two in turns, together with the state of the board before, meanwhile and after."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional

from .conditions import board, resident_bytes, state
from .latency import BLOCK_NS, Plan, alternate, measure
from .protocol import Message
from .session import Session, example_inputs

Report = Callable[..., None]


def bench(session: Session, samples: Any, plan: Message, report: Report, other: Optional[Session] = None) -> Message:
    """Time `session`: the first run apart (it is cold), then by `plan`; then in turns with `other`, if there is one.

    Args:
        session: The model.
        samples: Data for its inputs, or None for noise.
        plan: See `latency.Plan`.
        report: Takes progress.
        other: Another model, fed with noise.

    Returns:
        What `latency.measure` returns, ``load_ns``, ``first_ns``, ``plan``, ``conditions``, ``observed`` (the state
        every ``observe_seconds``), and ``comparison`` (see `latency.alternate`) if there is another model.
    """
    found = Plan.from_data(plan)
    feed = samples.feed(session, 0, session.inputs[0].shape[0]) if samples else example_inputs(session)
    before = state()
    run = _runner(session, feed)
    first_ns = run()
    observed: List[Message] = []
    figures = measure(run, found, report, lambda seconds, runs: observed.append(_observation(seconds, runs)))
    result: Dict[str, Any] = dict(figures, load_ns=session.load_ns, first_ns=first_ns, plan=found._asdict())
    if other is not None:
        compared = alternate(run, _runner(other, example_inputs(other)), found, report)
        result["comparison"] = dict(compared, block_ns=BLOCK_NS, other_load_ns=other.load_ns)
    conditions = {"board": board(), "before": before, "after": state(), "peak_rss_bytes": resident_bytes(peak=True)}
    return dict(result, observed=observed, conditions=conditions)


def _runner(session: Session, feed: List[Any]) -> Callable[[], int]:
    def run() -> int:
        for tensor, stored in zip(session.inputs, feed):
            session.set(tensor, stored)  # an interpreter may reuse an input's memory while it runs
        start = time.perf_counter_ns()
        session.invoke()
        return time.perf_counter_ns() - start

    return run


def _observation(seconds: float, runs: int) -> Message:
    """Return the state in the middle of a timing, without the part that would take long."""
    now = state(busy=False)
    kept = ("frequency_mhz", "temperature_c", "throttling", "power_w")
    return dict({name: now[name] for name in kept}, seconds=seconds, runs=runs)
