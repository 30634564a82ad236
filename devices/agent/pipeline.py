"""A pipeline of .tflite files, each in a process of its own, timed in turns with the whole that they are the parts of.

The process that does this feeds the first part, takes the results of the last one, and runs the whole, on the same
samples; whether the results are equal bit for bit is looked at before anything is timed.
"""

from __future__ import annotations

import platform
import time
from array import array
from collections import deque
from dataclasses import replace
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, Tuple, cast

import numpy as np

from .arith import percentile
from .arrays import open_all, paths_in_order
from .conditions import board, state
from .latency import in_turns
from .parts import Parts
from .plan import Plan
from .protocol import AgentError, Message
from .records import Conditions, Difference, Pipelined
from .ring import Arrays
from .segment import MOST_KEPT
from .session import Session, Tensor, example_inputs

BLOCK_NS = 100_000_000  # of one way before it is another's turn: long against filling the pipeline
TRIALS = 5  # blocks of the whole with each number of threads, to find the faster
EXAMPLES = 32  # samples of noise that are compared where there are no data


def pipeline(
    request: Message,
    load_whole: Optional[Callable[[int], Session]],
    loaded: Callable[[], None],
    report: Callable[..., None],
) -> Tuple[Optional[Session], Message]:
    """Run, compare and time a pipeline, in one process of its timing.

    Args:
        request: Its ``segments`` (see `parts.Parts`), ``inputs``, ``stored``, ``bench`` and ``part``.
        load_whole: Loads the model that the parts make up, for so many threads; None where there is none. In the first
            process it is run with one thread and with those of its request, and the faster is what is compared with.
        loaded: Called when all is loaded.
        report: Takes progress.

    Returns:
        The whole, and the result, with ``pipeline`` in it.

    Raises:
        AgentError: A part fails or dies, which is named, or the parts do not fit each other or the whole.
    """
    plan = Plan.from_data(request["bench"])
    parts = Parts(request)
    wholes = [] if load_whole is None else [load_whole(count) for count in _thread_counts(request)]
    whole = wholes[0] if wholes else None
    facts = [part.facts for part in parts.members]
    inputs = pipeline_inputs(facts, whole)
    parts.connect([tensor.as_data() for tensor in inputs], wanted_outputs(facts, whole))
    loaded()
    feeds = _feeds(inputs, request)
    ways = _Ways(parts, whole, feeds)
    before = state(busy=request.get("part", 0) == 0)
    differences = ways.compare(report) if whole is not None else None
    ways.warm_up(plan)
    ways.choose(wholes)
    blocks = [ways.stream, ways.single] + ([ways.alone] if whole is not None else [])
    times, seconds = in_turns(blocks, plan, report)
    after = state(busy=request.get("part", 0) == plan.processes - 1)
    told = parts.end()
    peaks = [part["peak_rss_bytes"] for part in told if part["peak_rss_bytes"] is not None]
    conditions: Conditions = {
        "board": board(), "before": before, "after": after, "peak_rss_bytes": sum(peaks) if peaks else None
    }  # fmt: skip
    result: Pipelined = {
        "parts": told,
        "queue": parts.depth,
        "link_bytes": parts.link_bytes,
        "samples": len(feeds),
        "batch": inputs[0].shape[0],
        "differences": differences,
        "seconds": seconds,
        "conditions": conditions,
    }
    result.update(cast(Pipelined, dict(zip(("stream_ns", "single_ns", "whole_ns"), times))))
    if whole is not None:
        result["whole"] = {"run_ns": ways.whole_ns()}
    return ways.whole, {"pipeline": result, "machine": platform.machine()}


class _Ways:
    """The ways to take samples through: each is a block of runs, and returns the nanoseconds that a sample took."""

    def __init__(self, parts: Parts, whole: Optional[Session], feeds: List[Arrays]) -> None:
        self._parts, self.whole, self._feeds = parts, whole, feeds
        self._turn = 0
        self._times: "array[int]" = array("q")

    def _feed(self) -> Arrays:
        self._turn += 1
        return self._feeds[self._turn % len(self._feeds)]

    def compare(self, report: Callable[..., None]) -> List[Difference]:
        """Take all samples through the full pipeline and through the whole, and count those that differ."""
        outputs = {tensor.tensor_name: tensor.name for tensor in self._session().outputs}
        found = dict.fromkeys(outputs, 0)
        under_way: Deque[Arrays] = deque()
        for place in range(len(self._feeds) + self._parts.capacity):
            if place < len(self._feeds):
                self._parts.submit(self._feeds[place])
                under_way.append(self._feeds[place])
            report("samples", min(place, len(self._feeds)), len(self._feeds))
            if len(under_way) == self._parts.capacity or (place >= len(self._feeds) and under_way):
                expected, given = self._run_whole(under_way.popleft()), self._parts.receive()
                for name in found:
                    found[name] += int(expected[name].tobytes() != given[name].tobytes())
        return [{"output": outputs[name], "samples": count} for name, count in found.items()]

    def warm_up(self, plan: Plan) -> None:
        """Run each way as long as the plan says, or as long as a block is."""
        start = time.perf_counter_ns()
        while True:
            for way in (self.stream, self.alone if self.whole is not None else self.single):
                way()
            if (time.perf_counter_ns() - start) / 1e9 >= min(plan.warmup_seconds, plan.max_seconds):
                return

    def whole_ns(self) -> float:
        """Return the median time of an inference of the whole, which other programs disturb less than a mean."""
        return percentile(np.array(self._times), 50)

    def choose(self, wholes: Sequence[Session]) -> None:
        """Let the fastest of several be the whole, by a few blocks in turns."""
        if len(wholes) > 1:
            times: Dict[int, List[int]] = {place: [] for place in range(len(wholes))}
            for _ in range(TRIALS):
                for place, whole in enumerate(wholes):
                    self.whole = whole
                    times[place].append(self.alone())
            self.whole = wholes[min(times, key=lambda place: sorted(times[place])[TRIALS // 2])]
        del self._times[:]

    def stream(self) -> int:
        """Keep the pipeline full: the time from result to result; filling and emptying it is not counted."""
        for _ in range(self._parts.capacity):
            self._parts.submit(self._feed())
        self._parts.receive()

        def one() -> None:
            self._parts.submit(self._feed())
            self._parts.receive()

        spent = _block(one, at_least=2 * len(self._parts.members))
        for _ in range(self._parts.capacity - 1):
            self._parts.receive()
        return spent

    def single(self) -> int:
        """Send a sample when the one before has come out: the latency of one."""

        def one() -> None:
            self._parts.submit(self._feed())
            self._parts.receive()

        return _block(one)

    def alone(self) -> int:
        """Run the whole."""
        return _block(lambda: self._run_whole(self._feed()))

    def _run_whole(self, feed: Arrays) -> Arrays:
        whole = self._session()
        if whole.stateful:
            whole.forget()
        start = time.perf_counter_ns()
        outputs = whole.run([feed[tensor.tensor_name] for tensor in whole.inputs])
        if len(self._times) < MOST_KEPT:
            self._times.append(time.perf_counter_ns() - start)
        return {tensor.tensor_name: value for tensor, value in zip(whole.outputs, outputs)}

    def _session(self) -> Session:
        if self.whole is None:
            raise RuntimeError("there is no whole to compare with")
        return self.whole


def _thread_counts(request: Message) -> List[int]:
    """Return the numbers of threads to try the whole with: one where the first process has found the better one."""
    most = int(request["whole"].get("threads") or 1)
    first = request.get("part", 0) == 0 and not request["whole"].get("delegate")
    return sorted({1, most}) if first else [most]


def _block(run: Callable[[], Any], at_least: int = 1) -> int:
    start = time.perf_counter_ns()
    runs, spent = 0, 0
    while runs < at_least or spent < BLOCK_NS:
        run()
        runs += 1
        spent = time.perf_counter_ns() - start
    return spent // runs


def pipeline_inputs(facts: Sequence[Mapping[str, Any]], whole: Optional[Session]) -> List[Tensor]:
    """Return the tensors that come from outside, numbered from 0 on; a later part may read one that the whole has.

    Raises:
        AgentError: A part reads what no part before it writes, or otherwise than it is written; or the whole reads
            something else than its parts.
    """
    known: Dict[str, Mapping[str, Any]] = {}
    outside: List[Mapping[str, Any]] = []
    own = None if whole is None else {tensor.tensor_name: tensor.as_data() for tensor in whole.inputs}
    for part in facts:
        for tensor in part["inputs"]:
            name = tensor["tensor_name"]
            if name not in known:
                if not (name in own if own is not None else not known):
                    message = "%s reads %r, which no part before it writes, nor is it an input of the whole; "
                    message += "give the parts in their order"
                    raise AgentError("request", message % (part["name"], name))
                outside.append(tensor)
            _require_same(name, known.get(name) or dict((own or {}).get(name) or tensor), tensor)
        known.update((tensor["tensor_name"], tensor) for tensor in (*part["inputs"], *part["outputs"]))
    missing = sorted(set(own or ()) - {tensor["tensor_name"] for tensor in outside})
    if missing:
        raise AgentError(
            "request", "the whole reads %r, which none of the parts reads; are they its parts?" % missing[0]
        )
    return [replace(_tensor(tensor), index=place) for place, tensor in enumerate(outside)]


def _require_same(name: str, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for field in ("dtype", "shape", "scale", "zero_point"):
        if given[field] != wanted[field]:
            message = "the tensor %r has the %s %s where it comes from, and %s in the part that reads it"
            raise AgentError("request", message % (name, field.replace("_", " "), given[field], wanted[field]))


def wanted_outputs(facts: Sequence[Mapping[str, Any]], whole: Optional[Session]) -> List[str]:
    """Return the names of the tensors that come out: the whole's, or all that no part behind reads.

    Raises:
        AgentError: The whole writes what none of its parts writes.
    """
    written = [tensor["tensor_name"] for part in facts for tensor in part["outputs"]]
    if whole is not None:
        wanted = [tensor.tensor_name for tensor in whole.outputs]
        missing = [name for name in wanted if name not in written]
        if missing:
            message = "the whole writes %r, which none of the parts writes; are they its parts?"
            raise AgentError("request", message % missing[0])
        return wanted
    read = {tensor["tensor_name"] for part in facts for tensor in part["inputs"]}
    return [name for name in dict.fromkeys(written) if name not in read]


def _tensor(facts: Mapping[str, Any]) -> Tensor:
    changed = {"dtype": np.dtype(facts["dtype"]), "shape": tuple(facts["shape"])}
    return Tensor(**dict(facts, signature=tuple(facts["signature"]), **changed))


def _feeds(inputs: Sequence[Tensor], request: Message) -> List[Arrays]:
    """Return the stored values of each sample, or batch of them, by tensor name.

    Raises:
        AgentError: The data do not fit the inputs.
    """
    names = [tensor.tensor_name for tensor in inputs]
    if not request.get("inputs"):
        return [dict(zip(names, example_inputs(inputs, seed))) for seed in range(EXAMPLES)]
    told = request.get("stored") or {}
    stored = {"#%d" % tensor.index: told[tensor.tensor_name] for tensor in inputs if tensor.tensor_name in told}
    samples = open_all(inputs, paths_in_order(inputs, request["inputs"]), stored)
    batch, feeds = inputs[0].shape[0], []
    for first in range(0, samples.count, batch):
        values = samples.feed(inputs, first, batch)
        for tensor, value in zip(inputs, values):
            if value.shape != tensor.shape:
                message = "the data for input %r have the shape %s; expected %s, as the parts are made for it"
                raise AgentError("data", message % (tensor.name, value.shape, tensor.shape))
        feeds.append(dict(zip(names, values)))
    return feeds
