"""When a latency does not count: the board throttled, was busy with something else, or is emulated. For every verb."""

from __future__ import annotations

from collections.abc import Sequence

from .agent.records import Conditions, Look, Observation, State

# Programs that take more than this, of one core, disturb a timing.
BUSY_CORES = 0.3
# A clock that falls by more than this share under the load has been lowered for heat or power.
CLOCK_FALL = 0.1

# The closed list of reasons.
REASONS = {
    "throttled": "the firmware held the clock down for heat or power",
    "clock_fell": "the clock fell during the run",
    "busy": "other programs used the processor",
    "emulated": "the board is emulated: its latencies are not a measurement",
}


def invalid_reasons(conditions: Conditions, observed: Sequence[Observation] = ()) -> list[dict[str, str]]:
    """Return why a timing cannot be trusted: "reason" (a key of `REASONS`) and "detail" of each; empty if it can.

    Args:
        conditions: The state of the board before and after the timing, as an agent tells it.
        observed: The looks at the board in the middle of it, in their order; empty if there were none.
    """
    before, after = conditions["before"], conditions["after"]
    found = []
    flags = _throttling_flags(before, after, observed)
    if flags:
        found.append({"reason": "throttled", "detail": ", ".join(flags)})
    clocks = [clock for look in observed if (clock := look.get("frequency_mhz"))]
    if clocks and min(clocks) < (1 - CLOCK_FALL) * clocks[0]:
        found.append({"reason": "clock_fell", "detail": f"from {clocks[0]:g} to {min(clocks):g} MHz"})
    for when, state in (("before", before), ("after", after)):
        busy = [item for item in state.get("busy") or () if item["cores"] >= BUSY_CORES]
        if busy:
            names = ", ".join(f"{item['name']} ({item['cores']:g} cores)" for item in busy[:3])
            found.append({"reason": "busy", "detail": f"{when} the run: {names}"})
    return found


def unmeasured_reasons(conditions: Conditions, observed: Sequence[Observation] = ()) -> list[dict[str, str]]:
    """Return why a timing says nothing of the board: what `invalid_reasons` finds, and an emulated board."""
    found = invalid_reasons(conditions, observed)
    if conditions["board"].get("emulated"):
        found.append({"reason": "emulated", "detail": "not a measurement"})
    return found


def _throttling_flags(before: State, after: State, observed: Sequence[Observation]) -> list[str]:
    """Return the flags that were up during the run, and those "since boot" that came up in it."""
    looks: list[Look] = [before, *observed, after]
    told = [look.get("throttling") for look in looks]
    seen = [set(item["flags"]) if item else set() for item in told]
    now = {flag for flags in seen for flag in flags if flag.endswith(" now")}
    since = {flag for flag in seen[-1] - seen[0] if flag.endswith(" since boot")}
    return sorted(now | since)
