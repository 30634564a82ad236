"""Several processes' timings told as one."""

from __future__ import annotations

from typing import Any

from edgeopt.devices.agent.processes import measure, merged
from edgeopt.devices.agent.protocol import Message

BOARD = {"model": "x", "emulated": False}


def timing(samples: list[int], **changes: Any) -> Message:
    conditions = {"board": BOARD, "before": samples[0], "after": samples[-1], "peak_rss_bytes": 10 * len(samples)}
    found = {"samples_ns": samples, "p50_ns": samples[0], "p95_ns": samples[-1], "kept_every": 1}
    found.update(runs=len(samples), seconds=2.0)
    found.update(stable=True, stopped_by="stable", warmup_runs=3, load_ns=7, first_ns=8, observed=[])
    return {**found, "conditions": conditions, **changes}


class Recorder:
    """Stands where the supervisor does: keeps the requests, and answers each with a timing."""

    def __init__(self) -> None:
        self.requests: list[Message] = []

    def run(self, request: Message) -> Message:
        self.requests.append(request)
        number = len(self.requests)
        skipped = [{"runtime": "ai_edge_litert", "reason": "not installed"}] if number == 1 else []
        found = {"kernel_profile": {"runtime": "tflite_runtime"}, "runtimes_skipped": skipped}
        if request["evaluate"]:
            found["evaluation"] = number
        return dict(found, latency=timing([number])) if request.get("bench") else found


def test_samples_runs_and_seconds_add_up_and_each_process_keeps_its_own() -> None:
    found = merged([timing([1, 2, 3]), timing([4, 5], load_ns=70, seconds=1.0)])
    assert found["samples_ns"] == [1, 2, 3, 4, 5]
    assert (found["runs"], found["seconds"], found["warmup_runs"]) == (5, 3.0, 6)
    assert [part["p50_ns"] for part in found["processes"]] == [1, 4]
    assert found["load_ns"] == 7, "the first process is the cold one"


def test_conditions_are_those_before_the_first_and_after_the_last_with_the_highest_peak() -> None:
    conditions = merged([timing([1, 2, 3]), timing([4, 5])])["conditions"]
    assert conditions == {"board": BOARD, "before": 1, "after": 5, "peak_rss_bytes": 30}


def test_a_file_takes_the_most_memory_that_one_of_the_processes_took_for_it() -> None:
    parts = [timing([1]), timing([2]), timing([3])]
    for part, grown in zip(parts, (5, 9, None), strict=True):
        part["conditions"]["grown_bytes"] = grown
    assert merged(parts)["conditions"]["grown_bytes"] == 9
    assert merged(parts[2:] * 2)["conditions"]["grown_bytes"] is None


def test_one_process_that_is_not_stable_or_ran_out_of_time_is_told() -> None:
    found = merged(
        [timing([1]), timing([2], stable=False, stopped_by="max_seconds"), timing([3], stopped_by="max_runs")]
    )
    assert (found["stable"], found["stopped_by"]) == (False, "max_seconds")


def test_processes_that_kept_fewer_of_their_samples_do_not_count_for_less() -> None:
    found = merged([timing([1, 2, 3, 4]), timing([5, 6], kept_every=2)])
    assert (found["samples_ns"], found["kept_every"]) == ([1, 3, 5, 6], 2)


def test_looks_at_the_board_go_on_counting() -> None:
    look = {"seconds": 1.0, "runs": 1, "power_w": 2.0}
    found = merged([timing([1, 2, 3], observed=[look]), timing([4], observed=[look])])
    assert [(item["seconds"], item["runs"]) for item in found["observed"]] == [(1.0, 1), (3.0, 4)]


def test_comparisons_keep_the_ratio_of_each_process() -> None:
    parts = [{"first_ns": [2], "second_ns": [1], "ratio": 2.0, "seconds": 1.0, "block_ns": 5, "other_load_ns": 6}] * 2
    compared = merged([timing([1], comparison=part) for part in parts])["comparison"]
    assert compared["process_ratios"] == [2.0, 2.0]
    assert (compared["first_ns"], compared["second_ns"], compared["seconds"]) == ([2, 2], [1, 1], 2.0)


def test_the_first_process_finds_the_runtime_and_the_last_one_runs_the_data() -> None:
    recorder = Recorder()
    plan = {"min_runs": 2, "max_runs": 2, "processes": 2}
    found = measure(recorder, {"runtime": "auto", "bench": plan, "evaluate": True})  # type: ignore[arg-type]
    assert [request["runtime"] for request in recorder.requests] == ["auto", "tflite_runtime"]
    assert [request["evaluate"] for request in recorder.requests] == [False, True]
    assert found["evaluation"] == 2
    assert found["runtimes_skipped"] == [{"runtime": "ai_edge_litert", "reason": "not installed"}]
    assert (found["latency"]["plan"]["processes"], len(found["latency"]["processes"])) == (2, 2)


def test_without_a_timing_there_is_one_process() -> None:
    recorder = Recorder()
    assert measure(recorder, {"bench": None, "evaluate": True})["evaluation"] == 1  # type: ignore[arg-type]
    assert len(recorder.requests) == 1
