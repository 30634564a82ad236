"""When a timing stops."""

from __future__ import annotations

import gc
import itertools

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
