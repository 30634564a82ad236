"""A job in its processes: the timing spread over several, the data run through the model in the last of them."""

from __future__ import annotations

from typing import Any, Dict, List, cast

from .plan import Plan
from .protocol import AgentError, Message
from .records import Conditions, Observation, OpProfile, Pipelined, Timing, Turns
from .supervisor import Supervisor

# The one runtime with a profiler; see `opprofile`.
PROFILED = "ai_edge_litert"


def measure(supervisor: Supervisor, request: Message) -> Message:
    """Do a "measure" job.

    All processes run the runtime that loaded in the first.

    Raises:
        AgentError: As `Supervisor.run`, or the plan of the timing makes no sense.
    """
    if request.get("bench") is None:
        return supervisor.run(request)
    whole = Plan.from_data(request["bench"])
    plans = whole.split()
    results: List[Message] = []
    for number, plan in enumerate(plans):
        last = number == len(plans) - 1
        part = dict(request, bench=plan._asdict(), part=number, evaluate=last and request.get("evaluate"))
        if results:
            part["runtime"] = results[0]["kernel_profile"]["runtime"]
        results.append(supervisor.run(part))
    latency: Timing = {**merged([result["latency"] for result in results]), "plan": whole._asdict()}
    result = dict(results[-1], latency=latency, runtimes_skipped=results[0]["runtimes_skipped"])
    if request.get("op_profile"):
        result["op_profile"] = _op_profile(supervisor, request, result["kernel_profile"])
    return result


def pipeline(supervisor: Supervisor, request: Message) -> Message:
    """Do a "pipeline" job; as `measure`, in several processes, each with parts of its own.

    Raises:
        AgentError: As `Supervisor.run`, or the plan of the timing makes no sense.
    """
    whole = Plan.from_data(request["bench"])
    results: List[Message] = []
    for number, plan in enumerate(whole.split()):
        part = dict(request, bench=plan._asdict(), part=number)
        if results:  # all processes do as the first one found best
            found = results[0]["pipeline"]
            part["runtime"] = found["parts"][0]["kernel_profile"]["runtime"]
            if request.get("whole"):
                part["whole"] = dict(request["whole"], threads=found["whole"]["kernel_profile"]["threads"])
        results.append(supervisor.run(part))
    merged_times = _merged_pipeline([result["pipeline"] for result in results])
    return dict(results[-1], pipeline=merged_times, runtimes_skipped=results[0]["runtimes_skipped"])


def _op_profile(supervisor: Supervisor, request: Message, kernels: Message) -> OpProfile:
    """Return the time of each operator, or ``problem``: why there is none. The job itself does not fail of it."""
    if kernels["runtime"] != PROFILED:
        return {"problem": "%s offers no per-operator profile" % kernels["runtime"]}
    if request.get("delegate"):
        return {"problem": "a delegate runs the file as one operator"}
    try:
        return cast(OpProfile, supervisor.run(dict(request, op="op_profile", runtime=PROFILED)))
    except AgentError as error:
        return {"problem": error.message}


def merged(parts: List[Timing]) -> Timing:
    """Return the ``latency`` of one process, or that of several in their order as if it were of one.

    Returns:
        What `benchmark.bench` returns, with all samples, and ``processes``: ``p50_ns``, ``p95_ns``, ``runs``,
        ``seconds``, ``stable``, ``load_ns`` and ``first_ns`` of each. Load and first inference are the first process's,
        which are the cold ones; the conditions are those before the first and after the last.
    """
    result = parts[0].copy()
    stride = max(part["kept_every"] for part in parts)
    result["samples_ns"] = [sample for part in parts for sample in part["samples_ns"][:: stride // part["kept_every"]]]
    result["kept_every"] = stride
    result["runs"] = sum(part["runs"] for part in parts)
    result["seconds"] = sum(part["seconds"] for part in parts)
    result["warmup_runs"] = sum(part["warmup_runs"] for part in parts)
    result["stable"] = all(part["stable"] for part in parts)
    reasons = [part["stopped_by"] for part in parts]
    result["stopped_by"] = next(name for name in ("max_seconds", "max_runs", "stable") if name in reasons)
    result["observed"] = _observed(parts)
    result["conditions"] = _conditions([part["conditions"] for part in parts])
    kept = ("p50_ns", "p95_ns", "runs", "seconds", "stable", "load_ns", "first_ns")
    result["processes"] = [cast(Timing, {name: dict(part)[name] for name in kept}) for part in parts]
    if "comparison" in result:
        result["comparison"] = _compared([part["comparison"] for part in parts])
    return result


def _observed(parts: List[Timing]) -> List[Observation]:
    """Return all looks at the board, with the seconds and runs since the first process's start."""
    found: List[Observation] = []
    seconds, runs = 0.0, 0
    for part in parts:
        for look in part["observed"]:
            found.append({**look, "seconds": look["seconds"] + seconds, "runs": look["runs"] + runs})
        seconds, runs = seconds + part["seconds"], runs + part["runs"]
    return found


def _conditions(parts: List[Conditions]) -> Conditions:
    """Return those of all: of each kind of memory, the most that one of the processes had."""
    found = {**parts[0], "after": parts[-1]["after"]}
    for name in ("peak_rss_bytes", "grown_bytes"):
        told = [cast(Dict[str, Any], part).get(name) for part in parts]
        if name in found:
            cast(Dict[str, Any], found)[name] = max((value for value in told if value is not None), default=None)
    return cast(Conditions, found)


def _compared(parts: List[Turns]) -> Turns:
    result: Turns = {**parts[0], "seconds": sum(part["seconds"] for part in parts)}
    result["first_ns"] = [block for part in parts for block in part["first_ns"]]
    result["second_ns"] = [block for part in parts for block in part["second_ns"]]
    result["process_ratios"] = [part["ratio"] for part in parts]
    return result


def _merged_pipeline(parts: List[Pipelined]) -> Pipelined:
    """Return the ``pipeline`` of several processes, in their order, as if it were of one, and each one's times."""
    result = parts[0].copy()
    for name in ("stream_ns", "single_ns", "whole_ns"):
        if name in result:
            cast(Dict[str, Any], result)[name] = [block for part in parts for block in cast(Dict[str, Any], part)[name]]
    result["seconds"] = sum(part["seconds"] for part in parts)
    result["conditions"] = {**parts[0]["conditions"], "after": parts[-1]["conditions"]["after"]}
    if result["differences"] is not None:
        counts = zip(*(part["differences"] or [] for part in parts))
        result["differences"] = [
            {"output": same[0]["output"], "samples": max(one["samples"] for one in same)} for same in counts
        ]
    result["processes"] = [
        cast(Pipelined, {name: dict(part)[name] for name in ("stream_ns", "single_ns", "whole_ns") if name in part})
        for part in parts
    ]
    if "whole" in result:
        result["whole"]["run_ns"] = sorted(part["whole"]["run_ns"] for part in parts)[len(parts) // 2]
    for place, member in enumerate(result["parts"]):
        runs = sorted(part["parts"][place]["run_ns"] for part in parts)
        member["run_ns"] = runs[len(runs) // 2]
    return result
