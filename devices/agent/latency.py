"""Timing a model at batch 1: warm-up, then runs until the median holds still."""

from __future__ import annotations

import gc
import time
from array import array
from typing import Any, Callable, List, Sequence, Tuple

import numpy as np

from .arith import percentile
from .plan import Plan
from .records import Timing, Turns

CHECK_EVERY_NS = 100_000_000
BLOCK_NS = 20_000_000  # of one model before it is the other's turn: long against a switch, short against a clock change
# Of all processes of a timing together:
MIN_PAIRS = 20
COMPARE_SECONDS = 5.0
MOST_KEPT = 100_000  # samples; beyond, every second one is dropped, again and again
QUARTERS = 4
STABLE_WITHIN = 0.02


def measure(
    run: Callable[[], int],
    plan: Plan,
    report: Callable[..., None],
    observe: Callable[[float, int], None] = lambda seconds, runs: None,
) -> Timing:
    """Time a model by `plan`.

    Args:
        run: Runs the model once and returns the nanoseconds that its invocation took.
        plan: When to stop, and how long to warm up.
        report: Takes progress: the stage, and the seconds that are behind of how many.
        observe: Called every ``observe_seconds``, between two runs, with the seconds and runs so far.

    Returns:
        ``samples_ns`` in order (of long timings every ``kept_every``-th only), their ``p50_ns`` and ``p95_ns``,
        ``runs``, ``warmup_runs``, ``seconds``, ``stable``, and ``stopped_by``: "stable", "max_runs" or "max_seconds".
    """
    warmup = _warm_up(run, plan)
    collecting = gc.isenabled()
    gc.disable()  # a collection in the middle of a run would be timed with it
    try:
        return {**_sample(run, plan, report, observe), "warmup_runs": warmup}
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


def alternate(
    run_first: Callable[[], int], run_second: Callable[[], int], plan: Plan, report: Callable[..., None]
) -> Turns:
    """Time two models in turns, so that whatever slows the board slows both: blocks A B B A A B B A ...

    Args:
        run_first: Runs the first model once, as `run` of `measure` does.
        run_second: Runs the other model once.
        plan: Its warm-up and seconds bound this, too; it may take twice `max_seconds`.
        report: Takes progress, as that of `measure`.

    Returns:
        ``first_ns`` and ``second_ns``: the median run of each block, pair by pair; ``ratio``, the median over the
        pairs; ``seconds``.
    """
    for run in (run_first, run_second):
        _warm_up(run, plan)
    (first, second), seconds = in_turns([lambda: _block(run_first), lambda: _block(run_second)], plan, report)
    ratio = percentile(np.array(first) / np.array(second), 50)
    return {"first_ns": first, "second_ns": second, "ratio": ratio, "seconds": seconds}


def in_turns(
    blocks: Sequence[Callable[[], int]], plan: Plan, report: Callable[..., None]
) -> Tuple[List[List[int]], float]:
    """Time blocks of work in turns, A B C C B A A B C ..., as long as `plan` says for one of its processes.

    Returns:
        What each block returned, round by round, nanoseconds a run; and the seconds that it took.
    """
    found: List[List[int]] = [[] for _ in blocks]
    start = time.perf_counter_ns()
    seconds = 0.0
    collecting = gc.isenabled()
    gc.disable()
    try:
        enough = max(plan.min_seconds, min(plan.max_seconds, COMPARE_SECONDS / plan.processes))
        while len(found[0]) < -(-MIN_PAIRS // plan.processes) or seconds < enough:
            order = list(zip(found, blocks))
            for times, block in order if len(found[0]) % 2 == 0 else order[::-1]:
                times.append(block())
            seconds = (time.perf_counter_ns() - start) / 1e9
            report("compare", int(seconds), int(plan.max_seconds))
            if seconds >= 2 * plan.max_seconds:
                break
    finally:
        if collecting:
            gc.enable()
    return found, seconds


def _block(run: Callable[[], int]) -> int:
    """Return the median of the runs of one turn."""
    samples = array("q")
    end = time.perf_counter_ns() + BLOCK_NS
    while not samples or time.perf_counter_ns() < end:
        samples.append(run())
    return int(percentile(np.array(samples), 50))


def _sample(
    run: Callable[[], int], plan: Plan, report: Callable[..., None], observe: Callable[[float, int], None]
) -> Timing:
    samples = array("q")
    start = time.perf_counter_ns()
    due = start + CHECK_EVERY_NS
    next_look = plan.observe_seconds or float("inf")
    reason, runs, stride, most = "", 0, 1, MOST_KEPT // plan.processes
    while not reason:
        sample = run()
        runs += 1
        if runs % stride == 0:
            samples.append(sample)
        if len(samples) >= most:
            samples, stride = samples[1::2], 2 * stride
        now = time.perf_counter_ns()
        seconds = (now - start) / 1e9
        if runs >= plan.max_runs:
            reason = "max_runs"
        elif seconds >= plan.max_seconds:
            reason = "max_seconds"
        elif now >= due:
            report("bench", int(seconds), int(plan.max_seconds))
            enough = runs >= plan.min_runs and seconds >= plan.min_seconds
            reason = "stable" if enough and is_stable(np.array(samples)) else ""
            due = time.perf_counter_ns() + CHECK_EVERY_NS
        if seconds >= next_look:
            observe(seconds, runs)
            next_look = seconds + plan.observe_seconds
    found = np.array(samples)
    timing: Timing = {"samples_ns": found.tolist(), "runs": runs, "kept_every": stride}
    timing["p50_ns"], timing["p95_ns"] = percentile(found, 50), percentile(found, 95)
    return {**timing, "seconds": seconds, "stable": is_stable(found), "stopped_by": reason}


def is_stable(samples: Any) -> bool:
    """Return whether the medians of the four quarters lie within 2 % of the median of all."""
    if len(samples) < QUARTERS:
        return False
    medians = [percentile(part, 50) for part in np.array_split(samples, QUARTERS)]
    return bool(max(medians) - min(medians) <= STABLE_WITHIN * percentile(samples, 50))
