"""Timing a model at batch 1: warm-up, then runs until the median holds still."""

from __future__ import annotations

import gc
import time
from array import array
from typing import Any, Callable, NamedTuple

import numpy as np

from .arith import percentile
from .protocol import AgentError, Message

CHECK_EVERY_NS = 100_000_000
PARTS = 4
STABLE_WITHIN = 0.02


class Plan(NamedTuple):
    """Bounds of one timing: it ends at the first maximum that is reached.

    Before that it ends when both minima are behind and the median is stable: the medians of the four quarters of the
    runs so far lie within 2 % of each other.
    """

    warmup_runs: int = 5
    warmup_seconds: float = 0.3
    min_runs: int = 50
    max_runs: int = 20000
    min_seconds: float = 1.0
    max_seconds: float = 10.0

    @classmethod
    def from_data(cls, data: Message) -> "Plan":
        """Return the plan that a request asks for; absent fields keep their defaults.

        Raises:
            AgentError: An unknown field, or a minimum above its maximum.
        """
        unknown = sorted(set(data) - set(cls._fields))
        if unknown:
            raise AgentError("request", "unknown bench field %r; expected %s" % (unknown[0], ", ".join(cls._fields)))
        plan = cls(**data)
        if not 1 <= plan.min_runs <= plan.max_runs or not 0 <= plan.min_seconds <= plan.max_seconds:
            raise AgentError("request", "the bounds of the runs contradict each other: %s" % (plan,))
        return plan


def measure(run: Callable[[], int], plan: Plan, report: Callable[..., None]) -> Message:
    """Time a model by `plan`.

    Args:
        run: Runs the model once and returns the nanoseconds that its invocation took.
        plan: When to stop.
        report: Takes progress.

    Returns:
        ``samples_ns`` in order, ``warmup_runs``, ``seconds``, ``stable``, and ``stopped_by``: "stable", "max_runs" or
        "max_seconds".
    """
    warmup = _warm_up(run, plan)
    collecting = gc.isenabled()
    gc.disable()  # a collection in the middle of a run would be timed with it
    try:
        return dict(_sample(run, plan, report), warmup_runs=warmup)
    finally:
        if collecting:
            gc.enable()


def _warm_up(run: Callable[[], int], plan: Plan) -> int:
    start = time.perf_counter_ns()
    runs = 0
    while True:
        run()
        runs += 1
        seconds = (time.perf_counter_ns() - start) / 1e9
        if seconds >= plan.max_seconds or (runs >= plan.warmup_runs and seconds >= plan.warmup_seconds):
            return runs


def _sample(run: Callable[[], int], plan: Plan, report: Callable[..., None]) -> Message:
    samples = array("q")
    start = time.perf_counter_ns()
    due = start + CHECK_EVERY_NS
    reason = ""
    while not reason:
        samples.append(run())
        now = time.perf_counter_ns()
        seconds = (now - start) / 1e9
        if len(samples) >= plan.max_runs:
            reason = "max_runs"
        elif seconds >= plan.max_seconds:
            reason = "max_seconds"
        elif now >= due and len(samples) >= plan.min_runs and seconds >= plan.min_seconds:
            reason = "stable" if is_stable(np.array(samples)) else ""
            due = time.perf_counter_ns() + CHECK_EVERY_NS
            report("bench", int(seconds), int(plan.max_seconds))
    found = np.array(samples)
    return {"samples_ns": found.tolist(), "seconds": seconds, "stable": is_stable(found), "stopped_by": reason}


def is_stable(samples: Any) -> bool:
    """Return whether the medians of the four quarters lie within 2 % of the median of all."""
    if len(samples) < PARTS:
        return False
    medians = [percentile(part, 50) for part in np.array_split(samples, PARTS)]
    return bool(max(medians) - min(medians) <= STABLE_WITHIN * percentile(samples, 50))
