"""When a timing ends, and how it is spread over processes."""

from __future__ import annotations

import pytest

from edgeopt.devices.agent.plan import Plan
from edgeopt.devices.agent.protocol import AgentError


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"runs": 5}, "unknown bench field 'runs'"),
        ({"min_runs": 0}, "contradict each other"),
        ({"min_runs": 10, "max_runs": 9}, "contradict each other"),
        ({"min_seconds": 11}, "contradict each other"),
        ({"processes": 0}, "contradict each other"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(data: dict[str, int], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        Plan.from_data(data)


@pytest.mark.parametrize("runs", [1, 5, 9, 10, 17, 1000])
def test_the_parts_of_a_plan_add_up_to_it(runs: int) -> None:
    whole = Plan(min_runs=runs, max_runs=runs, min_seconds=4.5, max_seconds=9.0)
    parts = whole.split()
    assert len(parts) == min(9, runs), "a process without a run would be for nothing"
    assert sum(part.max_runs for part in parts) == sum(part.min_runs for part in parts) == runs
    assert sum(part.min_seconds for part in parts) == pytest.approx(4.5)
    assert sum(part.max_seconds for part in parts) == pytest.approx(9.0)
    for part in parts:
        assert Plan.from_data(part._asdict()) == part


def test_bounds_that_do_not_divide_stay_in_order() -> None:
    for low in range(1, 30):
        for high in range(low, 30):
            for part in Plan(min_runs=low, max_runs=high, processes=4).split():
                assert 1 <= part.min_runs <= part.max_runs


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"max_runs": "many"}, "'max_runs' is 'many'; expected a number"),
        ({"processes": 2.5}, "'processes' is 2.5; expected a number"),
        ({"max_seconds": None}, "'max_seconds' is None; expected a number"),
        ({"min_runs": True}, "'min_runs' is True; expected a number"),
        ({"processes": 2**31, "max_runs": 2**31}, "contradict each other"),  # which took all memory
    ],
)
def test_numbers_that_are_none_are_refused(data: dict[str, int], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        Plan.from_data(data)
