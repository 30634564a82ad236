"""From latency samples to the figures that are reported."""

from __future__ import annotations

import math
from typing import List, Optional, Tuple, cast

import numpy as np

from .arith import Array, percentile
from .records import Figures, Reported, Runs, Timing

_Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution
# Fewer cannot carry a 95 % interval: two to four processes may all be of the same kind, and 49 runs worth but two.
LEAST_PROCESSES, LEAST_RUNS = 5, 50
COARSEST_CLOCK_NS = 120.0  # of the boards': the i.MX 8M counts at 8.33 MHz
ENOUGH_PROCESSES = 8  # the next run's median lies within the smallest and the largest of so many in 96 of 100 cases
# What Student's interval of fewer processes is widened by: they are no normal distribution, but have a long tail.
_LONG_TAIL = 1.5
_STUDENT = (12.706, 4.303, 3.182, 2.776)  # the 97.5 % quantiles of 1 to 4 degrees of freedom
# Parts into which one process's runs are cut: the more runs, the more parts that are long against what lasts.
_PARTS = ((400, 8), (120, 4), (3, 3))


def student_quantile(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's distribution (Cornish and Fisher's series from 5 degrees of freedom on).

    Example:
        >>> round(student_quantile(9), 2)
        2.26
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[max(freedom, 1) - 1]
    z, v = _Z95, float(freedom)
    first = (z**3 + z) / (4 * v)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    return z + first + second + third


def summarize(samples_ms: Array) -> Figures:
    """Return the figures of a series of latencies, in milliseconds, in the order in which they were taken.

    Returns:
        ``p50``, ``p90``, ``p95``, ``p99``, ``mean``, ``min``, ``max``, ``mad`` (median absolute deviation from the
        median, not scaled), ``p95_worst`` (the largest p95 of the parts of the series) and ``p50_ci95`` (see
        `median_interval`; None where that gives none).
    """
    p50, p90, p95, p99 = (percentile(samples_ms, percent) for percent in (50, 90, 95, 99))
    figures: Figures = {"p50": p50, "p90": p90, "p95": p95, "p99": p99}
    figures["mean"] = float(np.mean(samples_ms))
    figures["min"] = float(np.min(samples_ms))
    figures["max"] = float(np.max(samples_ms))
    figures["mad"] = percentile(np.abs(samples_ms - p50), 50)
    figures["p95_worst"] = max([p95] + [percentile(part, 95) for part in _parts(samples_ms)])
    figures["p50_ci95"] = _listed(median_interval(samples_ms, clock_step(samples_ms * 1e6) / 1e6))
    return figures


def clock_step(samples_ns: Array) -> float:
    """Return the step of the clock that gave these times, in nanoseconds: the least that two of them differ by."""
    steps = np.diff(np.unique(samples_ns))
    return float(np.min(steps)) if len(steps) else COARSEST_CLOCK_NS


def why_no_interval(processes: int, samples: int) -> Optional[str]:
    """Return why there is no 95 % interval of what so many processes gave, in words; None if there is one.

    Args:
        processes: Number of processes, at least 1.
        samples: Of a single process, the number of its runs, or pairs of blocks.

    Example:
        >>> why_no_interval(9, 0)
    """
    if processes == 1 and samples < LEAST_RUNS:
        return "%d in one process are too few for a 95 %% interval; take %d or more" % (samples, LEAST_RUNS)
    if 1 < processes < LEAST_PROCESSES:
        return "%d processes are too few for a 95 %% interval; take %d or more" % (processes, LEAST_PROCESSES)
    return None


def median_interval(samples: Array, step: float) -> Optional[Tuple[float, float]]:
    """Return a 95 % interval of the median of what one process goes on to give, from parts of its runs.

    Neighbouring latencies resemble each other: clock changes and other work last for many runs. So the series is cut
    into 3 to 8 parts one after the other, and Student's interval is taken over their medians ("batch means"; Law,
    Simulation Modeling and Analysis, 9.5.3). What the parts still have to do with each other widens it: by the ratio
    of the variance that an autoregressive series of this correlation has to the one that its parts show.

    It knows nothing of other processes: see `process_interval`. The median of all samples lies in it, always. Fewer
    than `LEAST_RUNS` have none: 20 that resemble their neighbours (0.9) are worth one, and it would cover 0.88.

    Args:
        samples: Shape (n,), n >= 1, in the order in which they were taken.
        step: Of the clock, in the unit of the samples: no interval is narrower.
    """
    if why_no_interval(1, len(samples)):
        return None
    value, found = percentile(samples, 50), [percentile(part, 50) for part in _parts(samples)]
    error = float(np.std(found, ddof=1)) / math.sqrt(len(found)) * _widening(samples, len(found))
    half = max(step, student_quantile(len(found) - 1) * error)
    return max(0.0, value - half), value + half


def _parts(samples: Array) -> List[Array]:
    count = next((parts for least, parts in _PARTS if len(samples) >= least), 1)
    return list(np.array_split(samples, count))


def _widening(samples: Array, parts: int) -> float:
    """Return the true standard error of a mean over that which independent parts would have, at least 1."""
    count = len(samples)
    ranks = np.argsort(np.argsort(samples, kind="mergesort"), kind="mergesort") - (count - 1) / 2.0
    if not count > 4 or np.ptp(samples) == 0:
        return 1.0
    seen = float(np.dot(ranks[1:], ranks[:-1]) / np.dot(ranks, ranks))
    likeness = min(0.99, max(0.0, (count * seen + 1) / (count - 3)))  # without the estimate's bias (Kendall 1954)
    whole, part = _variance_of_mean(likeness, count), _variance_of_mean(likeness, count / parts)
    shown = (part - whole) / (parts - 1)
    return math.sqrt(max(1.0, whole / shown)) if shown > 0 else 1.0


def _variance_of_mean(likeness: float, count: float) -> float:
    """Return the variance of the mean of `count` values, each of variance 1, of an autoregressive series."""
    inertia = (1 + likeness) / (1 - likeness)
    left = math.pow(likeness, count)
    return inertia / count * (1 - 2 * likeness * (1 - left) / (count * (1 - likeness**2)))


def process_interval(medians: List[float], step: float) -> Optional[Tuple[float, float]]:
    """Return an interval of what such a run gives, from the medians of its processes: the smallest to the largest.

    Each process is timed by itself, so their medians m_1 ... m_k are a sample of what a run of this length can give:
    whatever its distribution, the median of all such processes lies outside with probability 2 / 2^k (the sign test's
    interval; W. R. Thompson, Ann. Math. Stat. 7, 1936). For k = 9 this is 0.4 %, and the median of another nine lies
    outside with probability 2 * (9 8 7 6 5) / (18 17 16 15 14) = 2.9 % (that of the 18, the five smallest, or the five
    largest, are all of the other run). So it is at least a 95 % interval of what the next run will print, which an
    interval over one process's runs is not: that knows nothing of the other processes.

    Fewer than eight processes cannot give 95 % that way. Then it is Student's prediction interval of another such
    mean, m +- t s sqrt(2 / k), with k - 1 degrees of freedom, half as wide again: as it is, it covers 0.91 where the
    processes have a long tail; so, 0.94. Fewer than `LEAST_PROCESSES` have none: where processes are of two kinds, fast
    and slow, two to four of them may not have met both, and it would cover 0.81 to 0.91.

    The median of all runs of the processes together lies in it, always.

    Args:
        medians: One of each process, at least two of them.
        step: Of the clock, in the unit of the medians: both ends are at least so far from the middle one.
    """
    low, high, count = min(medians), max(medians), len(medians)
    if why_no_interval(count, 0):
        return None
    if count < ENOUGH_PROCESSES:
        mean, deviation = float(np.mean(medians)), float(np.std(medians, ddof=1))
        half = _LONG_TAIL * student_quantile(count - 1) * deviation * math.sqrt(2 / count)
        low, high = min(low, mean - half), max(high, mean + half)
    middle = percentile(np.array(medians), 50)
    return max(0.0, min(low, middle - step)), max(high, middle + step)


def latency_figures(raw: Timing) -> Reported:
    """Return what a report says of the ``latency`` of a reply.

    Returns:
        ``latency_ms``: the figures of `summarize`, and ``load`` (making the interpreter and allocating memory),
        ``first`` (the first inference) and ``cold``, their sum; where there were several processes, ``p50_ci95`` is
        `process_interval`, and ``p95_worst`` the largest p95 of a process. (There is no interval of p95: that of all
        processes hangs on the slowest, and no interval from so few covers what the next run's slowest is: the next p95
        keeps below ``p95_worst`` in 0.54 to 0.98 of the cases that benchmarks/intervals.py draws.)
        ``latency_runs``: how many runs, in how many seconds, whether the median was stable, and ``process_p50_ms``,
        the median of each process, and ``no_interval``: why ``p50_ci95`` is None, else None.
    """
    samples_ns = np.array(raw["samples_ns"], np.float64)
    figures = summarize(samples_ns / 1e6)
    parts = raw.get("processes", [])
    medians = [part["p50_ns"] / 1e6 for part in parts]
    if len(parts) > 1:
        figures["p50_ci95"] = _listed(process_interval(medians, clock_step(samples_ns) / 1e6))
        figures["p95_worst"] = max([figures["p95"]] + [part["p95_ns"] / 1e6 for part in parts if "p95_ns" in part])
    figures["load"] = raw["load_ns"] / 1e6
    figures["first"] = raw["first_ns"] / 1e6
    figures["cold"] = figures["load"] + figures["first"]
    told = {name: dict(raw)[name] for name in ("warmup_runs", "seconds", "stable", "stopped_by")}
    told.update(runs=raw.get("runs", len(raw["samples_ns"])), process_p50_ms=medians or [figures["p50"]])
    told["no_interval"] = why_no_interval(max(1, len(medians)), len(samples_ns))
    return {"latency_ms": figures, "latency_runs": cast(Runs, told)}


def _listed(interval: Optional[Tuple[float, float]]) -> Optional[List[float]]:
    return None if interval is None else list(interval)
