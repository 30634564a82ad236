"""Latency figures: known series, and an interval that keeps its word."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.devices.agent.stats import (
    clock_step,
    latency_figures,
    median_interval,
    process_interval,
    student_quantile,
    summarize,
    why_no_interval,
)


def test_the_figures_of_a_known_series() -> None:
    found = summarize(np.arange(1.0, 102.0))
    assert (found["p50"], found["p90"], found["p95"], found["p99"]) == (51, 91, 96, 100)
    assert (found["mean"], found["min"], found["max"], found["mad"]) == (51, 1, 101, 25)


def test_a_series_without_spread_has_an_interval_of_what_the_clock_can_tell() -> None:
    low, high = summarize(np.full(50, 2.0))["p50_ci95"]
    assert (low, high) == pytest.approx((2.0 - 120e-6, 2.0 + 120e-6)), "the coarsest clock, for all that is known"
    low, high = latency_figures(raw_of([2_000_000] * 9))["latency_ms"]["p50_ci95"]
    assert (low, high) == pytest.approx((2.0 - 120e-6, 2.0 + 120e-6))
    assert clock_step(np.array([2000.0, 2052.0, 2052.0, 2156.0])) == 52.0, "else what two times differ by at least"
    few = np.array([2.0] * 49 + [2.000052])
    assert median_interval(few, 52e-6) == pytest.approx((2.0 - 52e-6, 2.0 + 52e-6))


@pytest.mark.parametrize("count", [1, 2, 20, 49])
def test_few_runs_of_one_process_have_no_interval_and_say_why(count: int) -> None:
    """20 that resemble their neighbours as much as at 0.9 would be covered in 0.88 of the cases."""
    raw = {**raw_of([1_000_000 + number for number in range(count)]), "processes": []}
    found = latency_figures(raw)
    assert found["latency_ms"]["p50_ci95"] is None
    assert found["latency_runs"]["no_interval"] == (
        f"{count} in one process are too few for a 95 % interval; take 50 or more"
    )
    assert latency_figures({**raw, "samples_ns": [*range(50)]})["latency_runs"]["no_interval"] is None


def test_few_processes_have_no_interval_and_say_why() -> None:
    """Two to four that are fast or slow ones may all be of one kind: it would cover 0.81 to 0.91."""
    for count in (2, 3, 4):
        found = latency_figures(raw_of([1_000_000 * value for value in range(1, count + 1)]))
        assert found["latency_ms"]["p50_ci95"] is None
        assert "processes are too few for a 95 % interval; take 5 or more" in found["latency_runs"]["no_interval"]
    assert why_no_interval(5, 0) is None


def test_the_worst_p95_is_that_of_the_slowest_part() -> None:
    samples = np.concatenate([np.full(100, 1.0), np.full(100, 3.0), np.full(300, 1.0)])
    assert summarize(samples)["p95_worst"] == 3.0 >= summarize(samples)["p95"]


def test_student_s_quantiles_against_the_tables() -> None:
    tables = {1: 12.706, 4: 2.776, 5: 2.571, 9: 2.262, 30: 2.042, 1000: 1.962}
    for freedom, value in tables.items():
        assert student_quantile(freedom) == pytest.approx(value, abs=4e-3)


def test_the_series_is_cornish_and_fisher_s_to_its_third_term() -> None:
    """What is left out is the fourth term, 1.59 / freedom^4 (Abramowitz and Stegun, 26.7.5)."""
    for freedom, value in {30: 2.0422724563012378, 100: 1.9839715185235518, 1000: 1.9623390808264083}.items():
        assert student_quantile(freedom) == pytest.approx(value - 1.59 / freedom**4, abs=0.04 / freedom**4)


STUDENT = {3: 4.303, 4: 3.182, 8: 2.364}


@pytest.mark.parametrize(("count", "parts"), [(50, 3), (119, 3), (120, 4), (399, 4), (400, 8), (1000, 8)])
def test_the_interval_is_student_s_over_the_medians_of_some_parts(count: int, parts: int) -> None:
    up_and_down = np.where(np.arange(count) % 2, 5.0, -5.0)  # what follows a slow run is fast: nothing to be widened
    samples = 100 + up_and_down + np.random.default_rng(count).normal(size=count)
    medians = [np.median(part) for part in np.array_split(samples, parts)]
    half = STUDENT[parts] * np.std(medians, ddof=1) / parts**0.5
    middle = np.median(samples)
    assert median_interval(samples, 0.0) == pytest.approx((middle - half, middle + half), rel=1e-3)


def test_no_time_is_negative() -> None:
    assert median_interval(np.full(50, 10.0), 60.0) == (0.0, 70.0), "of a very coarse clock"


def variance_of_mean(likeness: float, count: int) -> float:
    """Of `count` values of an autoregressive series, each of variance 1: the mean of all their correlations."""
    places = np.arange(count)
    return float(np.mean(likeness ** np.abs(places[:, np.newaxis] - places)))


def test_what_the_parts_have_to_do_with_each_other_widens_the_interval() -> None:
    samples = drifting(np.random.default_rng(3), 120)
    ranks = np.empty(120)
    ranks[np.argsort(samples)] = np.arange(120) - 59.5
    seen = (ranks[1:] @ ranks[:-1]) / (ranks @ ranks)
    likeness = (120 * seen + 1) / 117
    assert 0.8 < likeness < 0.95
    truth, part = variance_of_mean(likeness, 120), variance_of_mean(likeness, 30)
    # The variance between 4 parts of one series is, on average, that of a part less that of the whole.
    widening = (truth / ((part - truth) / 3)) ** 0.5
    assert widening > 1.1
    half = STUDENT[4] * np.std([np.median(part) for part in np.split(samples, 4)], ddof=1) / 2 * widening
    low, high = median_interval(samples, 0.0)
    assert (high - low) / 2 == pytest.approx(half, rel=1e-6)


def test_runs_that_only_get_slower_are_as_alike_as_runs_can_be() -> None:
    """The estimate would be more than 1, of which no series is: 0.99 is taken."""
    samples = np.arange(100.0, 220.0)
    truth, part = variance_of_mean(0.99, 120), variance_of_mean(0.99, 30)
    half = STUDENT[4] * np.std([114.5, 144.5, 174.5, 204.5], ddof=1) / 2 * (truth / ((part - truth) / 3)) ** 0.5
    assert median_interval(samples, 0.0) == pytest.approx((max(0.0, 159.5 - half), 159.5 + half), rel=1e-6)


def drifting(rng: np.random.Generator, count: int) -> np.ndarray:
    """Latencies that resemble their neighbours: an autoregressive series around 10 with correlation 0.9."""
    noise = rng.normal(0, 1, count + 100)
    series = np.zeros(count + 100)
    for i in range(1, count + 100):
        series[i] = 0.9 * series[i - 1] + noise[i]
    return 10 + series[100:]


def independent_interval(samples: np.ndarray) -> tuple[float, float]:
    """The plain bootstrap, which takes every run for independent."""
    rng = np.random.default_rng(0)
    medians = np.median(samples[rng.integers(0, len(samples), (400, len(samples)))], axis=1)
    return float(np.percentile(medians, 2.5)), float(np.percentile(medians, 97.5))


@pytest.mark.parametrize(
    ("likeness", "count", "least"), [(0.0, 50, 0.95), (0.9, 50, 0.93), (0.9, 125, 0.94), (0.9, 900, 0.95)]
)
def test_the_interval_of_one_process_covers_its_median(likeness: float, count: int, least: float) -> None:
    """The moving-block bootstrap of before covers 0.86, 0.69 and 0.90 here, the plain one 0.2 of a drifting series."""
    rng, held, plain = np.random.default_rng(0), [], []
    for _ in range(400):
        samples = drifting(rng, count) if likeness else 10 + rng.normal(size=count)
        low, high = median_interval(samples, 0.0)
        held.append(low <= 10 <= high)
        low, high = independent_interval(samples)
        plain.append(low <= 10 <= high)
    assert np.mean(held) >= least - 0.035  # three standard errors of 400 series
    assert not likeness or np.mean(plain) < 0.6


def runs_of_processes(rng: np.random.Generator, runs: int) -> np.ndarray:
    """Latencies (runs, 9 processes, 50): each process is faster or slower for its whole life, with a long tail."""
    speed = rng.gamma(2, 0.05, (runs, 9, 1))
    return 1 + speed + rng.normal(0, 0.01, (runs, 9, 50))


def test_the_interval_of_nine_processes_holds_the_next_run_s_median_where_one_process_s_bootstrap_does_not() -> None:
    latencies = runs_of_processes(np.random.default_rng(0), 300)
    medians = np.median(latencies.reshape(300, -1), axis=1)
    intervals = [process_interval(list(np.median(run, axis=1)), 0.0) for run in latencies]
    held = np.mean([low <= other <= high for (low, high), other in zip(intervals, np.roll(medians, 1), strict=True)])
    # 97.1 % by the formula; 3 standard errors of 300 runs are 2.9 %.
    assert held >= 0.94
    alone = [median_interval(run[0], 0.0) for run in latencies[:60]]
    assert np.mean([low <= other <= high for (low, high), other in zip(alone, medians[1:61], strict=True)]) < 0.3


def test_the_median_of_all_runs_lies_in_the_interval_of_the_processes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        parts = [rng.gamma(2, 1, rng.integers(1, 40)) for _ in range(9)]
        low, high = process_interval([float(np.median(part)) for part in parts], 0.0)
        assert low <= np.median(np.concatenate(parts)) <= high


def test_cold_start_is_told_apart() -> None:
    raw = {"samples_ns": [1_000_000, 3_000_000], "load_ns": 5_000_000, "first_ns": 2_000_000}
    raw.update(warmup_runs=1, seconds=0.004, stable=False, stopped_by="max_runs")
    found = latency_figures(raw)
    assert found["latency_ms"]["p50"] == 2.0
    assert (found["latency_ms"]["load"], found["latency_ms"]["first"], found["latency_ms"]["cold"]) == (5.0, 2.0, 7.0)
    assert found["latency_runs"]["runs"] == 2


def raw_of(medians: list[int]) -> dict[str, object]:
    raw = {"samples_ns": medians, "load_ns": 0, "first_ns": 0, "warmup_runs": 1, "seconds": 0.01, "stable": True}
    return {**raw, "stopped_by": "stable", "processes": [{"p50_ns": value, "p95_ns": 2 * value} for value in medians]}


def test_several_processes_give_the_interval_and_are_told() -> None:
    found = latency_figures(raw_of([1_000_000 * value for value in (3, 1, 2, 5, 6, 4, 7, 8)]))
    assert found["latency_ms"]["p50_ci95"] == [1.0, 8.0]
    assert found["latency_runs"]["process_p50_ms"] == [3.0, 1.0, 2.0, 5.0, 6.0, 4.0, 7.0, 8.0]
    assert found["latency_ms"]["p95_worst"] == 16.0
    assert latency_figures({**raw_of([2_000_000]), "processes": []})["latency_runs"]["process_p50_ms"] == [2.0]


def test_few_processes_give_a_wider_interval_than_they_span() -> None:
    rng = np.random.default_rng(0)
    for draw in (lambda count: rng.lognormal(0, 1, (2000, count)), lambda count: rng.random((2000, count)) < 0.5):
        for count in (5, 6):
            runs = 10 + draw(count)
            ends = [process_interval(list(run), 0.0) for run in runs]
            held = np.mean([low <= other <= high for (low, high), other in
                            zip(ends, np.roll(np.median(runs, axis=1), 1), strict=True)])  # fmt: skip
            assert held >= 0.93, "three standard errors of 2000 runs are 1.5 %; Student's own holds 0.91 of a tail"
    assert process_interval([1.0, 1.0, 1.0, 1.0, 9.0], 0.0)[0] == 0.0, "no time is negative"


def test_the_interval_of_few_processes_is_student_s_half_as_wide_again() -> None:
    five = [8.0, 12.0, 10.0, 9.0, 11.0]
    half = 1.5 * 2.776 * 2.5**0.5 * (2 / 5) ** 0.5  # of five processes, whose variance is 2.5
    assert process_interval(five, 0.0) == pytest.approx((10 - half, 10 + half))
    seven = [float(value) for value in range(20, 27)]
    low, high = process_interval(seven, 0.0)
    assert low < 20 and high > 26
    assert process_interval([*seven, 27.0], 0.0) == (20.0, 27.0), "eight prove it by themselves"
    assert process_interval([10.0] * 6 + [100.0], 0.0) == (0.0, 100.0), "none of them lies outside"


def test_the_clock_s_step_lies_between_the_middle_process_and_both_ends() -> None:
    assert process_interval([10.0] * 8, 0.5) == (9.5, 10.5)
    assert process_interval([10.0] * 8 + [10.25], 0.5) == (9.5, 10.5)
    assert process_interval([9.0] + [10.0] * 8, 0.5) == (9.0, 10.5)


def test_what_was_told_of_a_timing_is_told_on() -> None:
    raw = {**raw_of([2_000_000, 4_000_000]), "warmup_runs": 7, "seconds": 1.5, "runs": 1000, "stopped_by": "max_runs"}
    raw["processes"] = [{"p50_ns": 2_000_000, "p95_ns": 9_000_000}, {"p50_ns": 4_000_000}]
    found = latency_figures(raw)
    told = {"warmup_runs": 7, "seconds": 1.5, "stable": True, "stopped_by": "max_runs", "runs": 1000}
    assert {**found["latency_runs"], **told, "process_p50_ms": [2.0, 4.0]} == found["latency_runs"]
    assert found["latency_ms"]["p95_worst"] == 9.0, "of the one that knows"
    assert latency_figures({**raw, "processes": [{"p50_ns": 1, "p95_ns": 2}] * 2})["latency_ms"]["p95_worst"] == 3.9
