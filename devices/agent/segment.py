"""One part of a pipeline, in a process of its own: takes tensors by name, runs its file, hands tensors on."""

from __future__ import annotations

import time
from array import array
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from .arith import percentile
from .conditions import resident_bytes
from .protocol import AgentError, Message, decode, encode
from .ring import Ends, Gone, Receiver, Sender
from .session import Session
from .streams import read_line, write_all

MOST_KEPT = 20_000


def run_part(session: Session, request: Message, facts: Mapping[str, object]) -> Dict[str, object]:
    """Tell what the part reads and writes, learn from the answer what is handed over, and work until the input ends.

    Args:
        session: The part's file, loaded.
        request: Its ``channel`` is the descriptor that the two lines go over, ``source`` and ``sink`` those of `Ends`.
        facts: What is told besides the tensors.

    Returns:
        ``run_ns``, the median time of an invocation, ``runs``, and ``peak_rss_bytes``.

    Raises:
        AgentError: The part fails.
    """
    ends = {"inputs": [t.as_data() for t in session.inputs], "outputs": [t.as_data() for t in session.outputs]}
    write_all(request["channel"], encode(dict(facts, load_ns=session.load_ns, stateful=session.stateful, **ends)))
    plan = decode(read_line(request["channel"]))
    if plan is None:  # another part could not be loaded
        return {"run_ns": 0.0, "runs": 0, "peak_rss_bytes": None}
    source = Receiver(Ends(*request["source"]), plan["given"], plan["depth"])
    sink = Sender(Ends(*request["sink"]), plan["made"], plan["depth"])
    kept = {tensor["tensor_name"] for tensor in plan["made"]}
    times: "array[int]" = array("q")
    try:
        while _step(session, source, sink, kept, times):
            pass
    except Gone:  # a neighbour died, which the one who started all of them will tell
        pass
    finally:
        source.close()
        sink.close()
    middle = percentile(np.array(times), 50) if times else 0.0
    return {"run_ns": middle, "runs": len(times), "peak_rss_bytes": resident_bytes(peak=True)}


def _step(session: Session, source: Receiver, sink: Sender, kept: "set[str]", times: "array[int]") -> bool:
    """Take one sample through the part; return whether there was one."""
    given = source.receive()
    if given is None:
        return False
    if session.stateful:
        session.forget()
    for tensor in session.inputs:
        session.set(tensor, given[tensor.tensor_name])
    start = time.perf_counter_ns()
    session.invoke()
    if len(times) < MOST_KEPT:
        times.append(time.perf_counter_ns() - start)
    made = sink.slot()
    for name in kept.intersection(given):
        made[name][...] = given[name]
    for tensor in session.outputs:
        if tensor.tensor_name in kept:
            _put(made[tensor.tensor_name], session.get(tensor), tensor.tensor_name)
    source.release()
    sink.send()
    return True


def _put(place: Any, value: Any, name: str) -> None:
    if value.shape != place.shape:
        message = "the tensor %r changes its shape from sample to sample (%s, then %s), which is not supported"
        raise AgentError("unsupported", message % (name, place.shape, value.shape))
    place[...] = value


def live(parts: Sequence[Mapping[str, Any]], inputs: Sequence[Any], wanted: Sequence[str]) -> List[List[Any]]:
    """Return the tensors that are handed over in front of each part, and behind the last.

    Args:
        parts: ``inputs`` and ``outputs`` of each part, tensors as `Tensor.as_data` returns them.
        inputs: The tensors that the first link brings.
        wanted: Names of the tensors that the last link brings.
    """
    links, known = [], {tensor["tensor_name"]: tensor for tensor in inputs}
    for place in range(len(parts) + 1):
        needed = set(wanted).union(*({t["tensor_name"] for t in part["inputs"]} for part in parts[place:]))
        links.append([tensor for name, tensor in known.items() if name in needed])
        if place < len(parts):
            known.update((tensor["tensor_name"], tensor) for tensor in parts[place]["outputs"])
    return links
