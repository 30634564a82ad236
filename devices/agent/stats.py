"""From latency samples to the figures that are reported."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Tuple

import numpy as np

from .arith import Array, percentile

RESAMPLES = 1000
_Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution
ENOUGH_PROCESSES = 6  # 2 / 2^6 is 3 %
_STUDENT = (12.706, 4.303, 3.182, 2.776)  # the 97.5 % quantiles of 1 to 4 degrees of freedom
_ROWS_AT_ONCE = 50  # bounds the memory of a resample on a small board


def summarize(samples_ms: Array, seed: int = 0) -> Dict[str, Any]:
    """Return the figures of a series of latencies, in milliseconds, in the order in which they were taken.

    Returns:
        ``p50``, ``p90``, ``p95``, ``p99``, ``mean``, ``min``, ``max``, ``mad`` (median absolute deviation from the
        median, not scaled) and ``p50_ci95`` (see `median_interval`).
    """
    median = percentile(samples_ms, 50)
    figures: Dict[str, Any] = {"p%d" % percent: percentile(samples_ms, percent) for percent in (50, 90, 95, 99)}
    figures["mean"] = float(np.mean(samples_ms))
    figures["min"] = float(np.min(samples_ms))
    figures["max"] = float(np.max(samples_ms))
    figures["mad"] = percentile(np.abs(samples_ms - median), 50)
    figures["p50_ci95"] = list(median_interval(samples_ms, seed))
    return figures


def median_interval(samples: Array, seed: int = 0) -> Tuple[float, float]:
    """Return a 95 % interval of the median of one process's runs, by the moving-block bootstrap (Künsch 1989).

    Neighbouring latencies resemble each other: clock changes and other work last for many runs. Resampling blocks of
    sqrt(n) runs, not single ones, keeps that in, and so does not promise more certainty than there is.

    Args:
        samples: Shape (n,), n >= 1, in the order in which they were taken.
        seed: Seeds the resampling.
    """
    count = len(samples)
    length = max(1, round(count**0.5))
    blocks = -(-count // length)
    rng = np.random.RandomState(seed)  # the one generator whose stream is the same in every NumPy
    within = np.arange(length)
    medians = []
    for _ in range(RESAMPLES // _ROWS_AT_ONCE):
        starts = rng.randint(0, count - length + 1, size=(_ROWS_AT_ONCE, blocks, 1))
        rows = samples[(starts + within).reshape(_ROWS_AT_ONCE, -1)[:, :count]]
        medians.append(np.median(rows, axis=1))
    found = np.concatenate(medians)
    return percentile(found, 2.5), percentile(found, 97.5)


def process_interval(medians: List[float]) -> Tuple[float, float]:
    """Return an interval of what such a run gives, from the medians of its processes: the smallest to the largest.

    Each process is timed by itself, so their medians m_1 ... m_k are a sample of what a run of this length can give:
    whatever its distribution, the median of all such processes lies outside with probability 2 / 2^k (the sign test's
    interval; W. R. Thompson, Ann. Math. Stat. 7, 1936). For k = 9 this is 0.4 %, and the median of another nine lies
    outside with probability 2 * (9 8 7 6 5) / (18 17 16 15 14) = 2.9 % (that of the 18, the five smallest, or the five
    largest, are all of the other run). So it is at least a 95 % interval of what the next run will print, which a
    bootstrap over one process's runs is not: that knows nothing of the other processes.

    Fewer than six processes cannot give 95 % that way. Then it is Student's prediction interval of another such mean,
    m +- t s sqrt(2 / k), with k - 1 degrees of freedom, which takes them for normally distributed.

    The median of all runs of the processes together lies in it, always.
    """
    low, high, count = min(medians), max(medians), len(medians)
    if count >= ENOUGH_PROCESSES:
        return low, high
    mean, deviation = float(np.mean(medians)), float(np.std(medians, ddof=1))
    half = _STUDENT[count - 2] * deviation * math.sqrt(2 / count)
    return max(0.0, min(low, mean - half)), max(high, mean + half)


def latency_figures(raw: Dict[str, Any], seed: int = 0) -> Dict[str, Any]:
    """Return what a report says of the ``latency`` of a reply.

    Returns:
        ``latency_ms``: the figures of `summarize`, and ``load`` (making the interpreter and allocating memory),
        ``first`` (the first inference) and ``cold``, their sum; ``p50_ci95`` is `process_interval` when there were
        several processes. ``latency_runs``: how many runs, in how many seconds, whether the median was stable, and
        ``process_p50_ms``, the median of each process.
    """
    figures = summarize(np.array(raw["samples_ns"], np.float64) / 1e6, seed)
    medians = [part["p50_ns"] / 1e6 for part in raw.get("processes", ())]
    if len(medians) > 1:
        figures["p50_ci95"] = list(process_interval(medians))
    figures["load"] = raw["load_ns"] / 1e6
    figures["first"] = raw["first_ns"] / 1e6
    figures["cold"] = figures["load"] + figures["first"]
    runs = {name: raw[name] for name in ("warmup_runs", "seconds", "stable", "stopped_by")}
    runs.update(runs=raw.get("runs", len(raw["samples_ns"])), process_p50_ms=medians or [figures["p50"]])
    return {"latency_ms": figures, "latency_runs": runs}


def wilson_interval(successes: int, count: int) -> Tuple[float, float]:
    """Return Wilson's 95 % score interval of a share (E. B. Wilson, JASA 22, 1927).

    Example:
        >>> [round(bound, 4) for bound in wilson_interval(9, 10)]
        [0.5958, 0.9821]
    """
    share = successes / count
    scale = 1 + _Z95**2 / count
    centre = (share + _Z95**2 / (2 * count)) / scale
    half = _Z95 * math.sqrt(share * (1 - share) / count + _Z95**2 / (4 * count**2)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)
