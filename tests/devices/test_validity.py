"""When a timing does not count, and why."""

from __future__ import annotations

import pytest

from edgeopt.devices.validity import REASONS, invalid_reasons, unmeasured_reasons


def state(flags=None, busy=(), clock=None):
    throttling = None if flags is None else {"raw": "0x0", "flags": list(flags)}
    return {"throttling": throttling, "busy": list(busy), "frequency_mhz": clock}


def reasons(before, after, observed=()):
    return [item["reason"] for item in invalid_reasons({"before": before, "after": after}, observed)]


def test_a_quiet_board_counts():
    assert reasons(state([], clock=1800.0), state([], clock=1800.0)) == []


def test_facts_that_cannot_be_read_are_no_reason():
    assert reasons(state(), state()) == []


@pytest.mark.parametrize("place", ["before", "meanwhile", "after"])
def test_throttling_at_any_time_is_a_reason(place):
    hot, cool = state(["throttled now"]), state([])
    before, meanwhile, after = (hot if place == at else cool for at in ("before", "meanwhile", "after"))
    assert reasons(before, after, [meanwhile]) == ["throttled"]


def test_throttling_since_the_boot_counts_only_when_it_came_up_in_the_run():
    old = state(["throttled since boot"])
    assert reasons(old, old) == []
    assert reasons(state([]), old) == ["throttled"]


def test_a_clock_that_falls_under_the_load_is_a_reason():
    assert reasons(state(), state(), [state(clock=1500.0), state(clock=1000.0)]) == ["clock_fell"]
    assert reasons(state(), state(), [state(clock=1500.0), state(clock=1450.0)]) == []


def test_another_busy_program_is_named():
    busy = {"name": "updatedb", "pid": 7, "cores": 0.9}
    found = invalid_reasons({"before": state(), "after": state(busy=[busy])})
    assert found == [{"reason": "busy", "detail": "after the run: updatedb (0.9 cores)"}]
    assert reasons(state(busy=[{**busy, "cores": 0.1}]), state()) == []


def test_every_reason_is_in_the_closed_list():
    busy = [{"name": "x", "pid": 1, "cores": 1.0}]
    found = reasons(state(["throttled now"], busy), state(), [state(clock=2.0), state(clock=1.0)])
    assert {*found, "emulated"} == set(REASONS)


@pytest.mark.parametrize("emulated", [False, True])
def test_an_emulated_board_measures_nothing_though_it_is_quiet(emulated):
    conditions = {"board": {"emulated": emulated}, "before": state(), "after": state()}
    assert invalid_reasons(conditions) == []
    assert [item["reason"] for item in unmeasured_reasons(conditions)] == ["emulated"] * emulated
