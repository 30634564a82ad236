"""When a timing stops."""

from __future__ import annotations

import gc
import itertools
from typing import Any

import numpy as np
import pytest

from edgeopt.devices.agent import latency
from edgeopt.devices.agent.latency import MIN_PAIRS, alternate, is_stable, measure
from edgeopt.devices.agent.plan import Plan

FAST = Plan(3, 0.0, min_runs=20, max_runs=10**6, min_seconds=0.15, max_seconds=5, processes=1)
TURNS = FAST._replace(warmup_runs=1, min_seconds=0.0, max_seconds=0.01)


def silent(*_: object) -> None:
    pass


def test_a_steady_model_stops_when_both_minima_are_behind() -> None:
    found = measure(lambda: 1000, FAST, silent)
    assert (found["stopped_by"], found["stable"], found["warmup_runs"]) == ("stable", True, 3)
    assert len(found["samples_ns"]) >= 20 and 0.15 <= found["seconds"] < 5


def test_a_model_that_gets_slower_goes_on_to_the_maximum() -> None:
    slower = itertools.count(1000, 1000)
    found = measure(lambda: next(slower), FAST._replace(max_runs=5000), silent)
    assert (found["stopped_by"], found["stable"], len(found["samples_ns"])) == ("max_runs", False, 5000)


def test_seconds_bound_it_too() -> None:
    found = measure(lambda: 1, FAST._replace(min_runs=10**6, max_seconds=0.2), silent)
    assert found["stopped_by"] == "max_seconds" and found["seconds"] < 1


def test_signs_of_life_come_before_the_minima_are_reached() -> None:
    told: list[tuple[str, int, int]] = []
    measure(lambda: 1, FAST._replace(min_runs=10**6, max_seconds=0.3), lambda *words: told.append(words))
    assert ("bench", 0, 0) in told


def test_samples_keep_their_order() -> None:
    numbers = itertools.count()
    found = measure(lambda: next(numbers), FAST._replace(warmup_runs=0, max_runs=30), silent)
    assert found["samples_ns"] == list(range(1, 31)), "the first run is the one that always warms up"


def test_the_garbage_collector_does_not_run_in_between_and_is_put_back() -> None:
    states = []

    def run() -> int:
        states.append(gc.isenabled())
        return 1

    measure(run, FAST._replace(warmup_runs=1, max_runs=20), silent)
    assert not any(states[1:]) and gc.isenabled()


class Clock:
    """A clock that only a run moves on: what ends when is exact then."""

    def __init__(self, *milliseconds: int) -> None:
        self.now, self.spans = 0, itertools.cycle(span * 10**6 for span in milliseconds)

    def perf_counter_ns(self) -> int:
        return self.now

    def run(self) -> int:
        span = next(self.spans)
        self.now += span
        return span


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    def started(*milliseconds: int) -> Clock:
        made = Clock(*milliseconds)
        monkeypatch.setattr(latency, "time", made)
        return made

    return started


PLAN = Plan(warmup_runs=1, warmup_seconds=0.0, min_runs=1, max_runs=10**6, min_seconds=0.25, max_seconds=5, processes=1)


@pytest.mark.parametrize(
    ("span", "runs", "seconds", "most", "expected"),
    [
        (400, 3, 1.0, 5, 3),
        (400, 2, 1.0, 5, 3),  # the second is not over before
        (100, 2, 1.0, 5, 10),
        (100, 4, 0.0, 5, 4),
        (100, 0, 0.0, 5, 1),
        (100, 99, 9.0, 0.5, 5),  # nothing warms up for longer than a timing may last
    ],
)
def test_a_warm_up_has_runs_and_seconds_to_reach(
    clock: Any, span: int, runs: int, seconds: float, most: float, expected: int
) -> None:
    plan = PLAN._replace(warmup_runs=runs, warmup_seconds=seconds, max_seconds=most, max_runs=1)
    assert measure(clock(span).run, plan, silent)["warmup_runs"] == expected


def test_every_tenth_of_a_second_there_is_a_sign_of_life_and_a_look_whether_it_is_stable(clock: Any) -> None:
    told: list[tuple[object, ...]] = []
    found = measure(clock(1).run, PLAN, lambda *words: told.append(words))
    assert (found["stopped_by"], found["stable"], found["runs"], found["seconds"]) == ("stable", True, 300, 0.3)
    assert told == [("bench", 0, 5)] * 3
    told.clear()
    found = measure(clock(600).run, PLAN._replace(min_seconds=2.5), lambda *words: told.append(words))
    assert (found["runs"], found["seconds"]) == (5, 3.0) and told[-1] == ("bench", 3, 5)
    found = measure(clock(100).run, PLAN._replace(min_runs=9, min_seconds=0.0), silent)
    assert (found["runs"], found["stopped_by"]) == (9, "stable")


def test_the_first_maximum_that_is_reached_ends_it(clock: Any) -> None:
    plan = PLAN._replace(min_seconds=5, max_runs=40)
    found = measure(clock(100).run, plan, silent)
    assert (found["runs"], found["seconds"], found["stopped_by"], found["stable"]) == (40, 4.0, "max_runs", True)
    found = measure(clock(100).run, plan._replace(max_runs=60), silent)
    assert (found["runs"], found["seconds"], found["stopped_by"]) == (50, 5.0, "max_seconds")
    found = measure(clock(100, 300).run, plan._replace(max_runs=5), silent)
    # After the run that warms up: 300, 100, 300, 100, 300.
    assert (found["p50_ns"], found["p95_ns"], found["stable"]) == (300e6, 300e6, False)
    assert measure(clock(100, 100, 200).run, plan._replace(max_runs=3), silent)["p95_ns"] == pytest.approx(190e6)


def test_the_board_is_looked_at_between_two_runs_as_often_as_asked(clock: Any) -> None:
    seen: list[tuple[float, int]] = []
    plan = PLAN._replace(min_seconds=2, max_runs=17, observe_seconds=0.5)
    measure(clock(100).run, plan, silent, lambda seconds, runs: seen.append((seconds, runs)))
    assert seen == [(0.5, 5), (1.0, 10), (1.5, 15)]
    seen.clear()
    measure(clock(100).run, plan._replace(observe_seconds=0.0), silent, lambda *words: seen.append(words))
    assert seen == []


@pytest.mark.parametrize(("most", "processes"), [(8, 1), (16, 2), (17, 2)])
def test_of_a_long_timing_every_second_run_is_kept_again_and_again(
    monkeypatch: pytest.MonkeyPatch, most: int, processes: int
) -> None:
    monkeypatch.setattr(latency, "MOST_KEPT", most)
    numbers = itertools.count()  # the run that warms up is number 0
    found = measure(lambda: next(numbers), PLAN._replace(max_runs=20, min_seconds=5, processes=processes), silent)
    assert (found["samples_ns"], found["kept_every"], found["runs"]) == ([4, 8, 12, 16, 20], 4, 20)


@pytest.mark.parametrize(
    ("span", "changes", "pairs", "seconds"),
    [
        (1, {}, 125, 5.0),  # pairs of two blocks of 20 ms
        (1, {"min_seconds": 6.0}, 150, 6.0),
        (1, {"max_seconds": 2.0}, 50, 2.0),
        (1, {"max_seconds": 0.1}, 5, 0.2),  # twice the maximum, and no more, for as many pairs as can be
        (1, {"processes": 5}, 25, 1.0),  # five seconds of all processes together
        (1, {"max_seconds": 0.4, "processes": 3}, 10, 0.4),
        (300, {"processes": 3}, 7, 4.2),  # 20 pairs of all processes: one more than 6 of each
        (300, {"processes": 20}, 1, 0.6),
        (3000, {}, 2, 12.0),
    ],
)
def test_turns_go_on_for_enough_pairs_and_seconds(
    clock: Any, span: int, changes: dict[str, float], pairs: int, seconds: float
) -> None:
    told: list[tuple[object, ...]] = []
    plan = PLAN._replace(**{"min_seconds": 0.0, **changes})
    time = clock(span)
    found = alternate(time.run, time.run, plan, lambda *words: told.append(words))
    assert (len(found["first_ns"]), found["seconds"]) == (pairs, pytest.approx(seconds))
    assert found["first_ns"] == found["second_ns"] == [span * 10**6] * pairs and len(told) == pairs
    assert told[-1] == ("compare", int(seconds), int(plan.max_seconds))


def test_a_turn_counts_by_the_median_of_its_runs(clock: Any) -> None:
    time = clock(5, 5, 5, 40)
    found = alternate(time.run, time.run, PLAN._replace(warmup_runs=4, min_seconds=0.0, max_seconds=0.01), silent)
    assert set(found["first_ns"]) == set(found["second_ns"]) == {5 * 10**6} and found["ratio"] == 1.0


@pytest.mark.parametrize("collecting", [True, False])
def test_turns_put_the_garbage_collector_back_as_it_was(clock: Any, collecting: bool) -> None:
    time, states = clock(100), []

    def run() -> int:
        states.append(gc.isenabled())
        return time.run()

    try:
        (gc.enable if collecting else gc.disable)()
        alternate(run, run, TURNS, silent)
        assert gc.isenabled() is collecting and not any(states[2:])
        measure(run, PLAN._replace(max_runs=1), silent)
        assert gc.isenabled() is collecting
    finally:
        gc.enable()


def test_two_models_are_timed_in_turns_so_that_neither_always_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "BLOCK_NS", 0)  # one run a block
    runs: list[str] = []
    found = alternate(lambda: runs.append("A") or 30, lambda: runs.append("B") or 20, TURNS, silent)  # type: ignore[func-returns-value]
    assert "".join(runs).startswith("AB" + "ABBA" * (MIN_PAIRS // 2)), "each warms up first"
    assert (found["first_ns"][:3], found["second_ns"][:3], found["ratio"]) == ([30] * 3, [20] * 3, 1.5)


def test_stable_means_that_the_quarters_agree_within_two_percent() -> None:
    steps = np.repeat([100, 101, 100, 101], 50)
    assert is_stable(steps)
    assert not is_stable(np.repeat([100, 100, 100, 103], 50))
    assert not is_stable(np.array([1, 1, 1])), "three runs show nothing"
    assert is_stable(np.array([1, 1, 1, 1])) and is_stable(np.repeat([100, 100, 100, 102], 50)), "two percent is within"
