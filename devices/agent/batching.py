"""Choosing how samples go through a model: in batches and on all cores where that changes nothing but the time.

Two ways to save time, both under the very kernels and thread count that the latency is measured with:

* several interpreters side by side, one a core (the runtimes release Python's lock while they run);
* batches, by resizing the inputs. They only save the overhead of a call, so they are used where one inference is
  short. The samples of the first batch are also run one by one, and batches are used only if the outputs are equal,
  bit for bit.
"""

from __future__ import annotations

import time
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from .arith import Array
from .arrays import Samples
from .conditions import cores, memory_bytes, resident_bytes
from .protocol import AgentError
from .session import Session

# What is gained is the overhead of a call; 16 samples share it well enough, and take little memory.
MAX_BATCH = 16
BATCH_NS = 50_000_000  # a batch takes about this long at most; the overhead of a call is lost in longer ones
MEMORY_SHARE = 0.25  # of the free memory, for interpreters

# Why samples go one by one, or on fewer cores than there are.
REASONS = {
    "few_samples": "there are too few samples for batches to pay",
    "large_batch": "the model's own batch is large enough",
    "slow_model": "one inference takes so long that batches would save nothing",
    "stateful": "the model keeps state between invocations",
    "accelerator": "there is one accelerator, and it runs one batch of the file's own size at a time",
    "fixed_batch": "the runtime cannot resize the model's batch",
    "outputs_not_batched": "an output has no batch dimension",
    "outputs_differ": "the outputs of a batch differ from those of the same samples one by one",
    "little_memory": "there is too little free memory for one interpreter a core",
}

# What does not change that the model runs on the CPU.
CPU_DELEGATES = ("none", "xnnpack")

Opener = Callable[[Dict[int, Sequence[int]]], Session]


class Way(NamedTuple):
    """How the samples go through: `batch` at a time, on `workers` interpreters, and why not more."""

    batch: int
    workers: int
    reasons: Tuple[str, ...]


class Start(NamedTuple):
    """A way, the sessions that are open for it, and what the trial has brought.

    `head` holds the stored outputs of the first samples, one array of shape (samples, ...) an output.
    """

    way: Way
    sessions: List[Session]
    head: List[Array]


def run_rows(session: Session, samples: Samples, first: int, batch: int) -> List[Array]:
    """Run `batch` samples at once and return their stored outputs, one array of shape (batch, ...) an output.

    Raises:
        AgentError: It fails, or an output does not tell the samples apart.
    """
    outputs = session.run(samples.feed(session.inputs, first, batch))
    rows = []
    for tensor, output in zip(session.outputs, outputs):
        if output.ndim and len(output) == batch:
            rows.append(output)
        elif batch == 1:
            rows.append(output[None])  # an output without a batch dimension belongs to the one sample
        else:
            message = "output %r has the shape %s for a batch of %d; samples cannot be told apart in it"
            raise AgentError("unsupported", message % (tensor.name, output.shape, batch))
    return rows


def choose(first: Session, opener: Opener, samples: Samples) -> Start:
    """Decide on the way, by trying it on the first samples.

    Args:
        first: A session that is open at the model's own batch.
        opener: Opens another session like it, for the given input shapes.
        samples: All samples.
    """
    native = first.inputs[0].shape[0]
    alone = "stateful" if first.stateful else "" if first.delegate in CPU_DELEGATES else "accelerator"
    if alone:
        first.forget()
        return Start(Way(native, 1, (alone,)), [first], run_rows(first, samples, 0, native))
    head, run_ns = _timed_rows(first, samples, native)
    if samples.count <= native:
        return Start(Way(native, 1, ("few_samples",)), [first], head[0])
    batch, reason = batch_size(native, run_ns, samples.count)
    before = resident_bytes() or 0
    sessions = [first]
    if not reason:
        done = len(head) * native
        head += [run_rows(first, samples, number, native) for number in range(done, batch, native)]
        expected = [rows[:batch] for rows in joined(head)]
        batched, reason = _try_batch(opener, samples, batch, first, expected)
        sessions = [batched] if batched else sessions
    if reason:
        batch = native
        sessions.append(opener(samples.shapes(first.inputs, native)))
        run_rows(sessions[-1], samples, 0, native)
    workers, short = _workers(first.threads, -(-samples.count // batch), (resident_bytes() or 0) - before)
    return Start(Way(batch, workers, tuple(filter(None, (reason, short)))), sessions, joined(head))


def _timed_rows(session: Session, samples: Samples, native: int) -> Tuple[List[List[Array]], int]:
    """Return the outputs of the first (at most three) runs, and the nanoseconds of the quickest.

    The first run is slowed by cold caches, and any of them by other work on the board.
    """
    head, taken = [], []
    for number in range(0, min(samples.count, 3 * native), native):
        start = time.perf_counter_ns()
        head.append(run_rows(session, samples, number, native))
        taken.append(time.perf_counter_ns() - start)
    return head, min(taken)


def batch_size(native: int, run_ns: int, count: int) -> Tuple[int, str]:
    """Return the batch to try, a multiple of the model's own, and the reason when that is the model's own.

    Args:
        native: The model's own batch.
        run_ns: How long one run at that batch takes, in nanoseconds.
        count: Number of samples; a batch that is more than a quarter of them could not earn back its trial.
    """
    by_time, by_count = native * (BATCH_NS // max(1, run_ns)), count // 4
    for limit, reason in ((MAX_BATCH, "large_batch"), (by_time, "slow_model"), (by_count, "few_samples")):
        if limit < 2 * native:
            return native, reason
    return min(MAX_BATCH, by_time, by_count) // native * native, ""


def joined(parts: List[List[Array]]) -> List[Array]:
    """Return the outputs of successive samples as one array an output."""
    return [np.concatenate(outputs) for outputs in zip(*parts)]


def _try_batch(
    opener: Opener, samples: Samples, batch: int, first: Session, expected: List[Array]
) -> Tuple[Session | None, str]:
    """Return a session for `batch` samples at a time when it gives the `expected` outputs, or the reason why not."""
    try:
        session = opener(samples.shapes(first.inputs, batch))
        outputs = session.run(samples.feed(session.inputs, 0, batch))
    except AgentError:
        return None, "fixed_batch"
    if [output.shape for output in outputs] != [rows.shape for rows in expected]:
        return None, "outputs_not_batched"
    if any(output.tobytes() != rows.tobytes() for output, rows in zip(outputs, expected)):
        return None, "outputs_differ"
    return session, ""


def _workers(threads: int, pieces: int, grown_bytes: int) -> Tuple[int, str]:
    """Return the number of interpreters to use, given what one more took, and the reason when memory limits it."""
    wanted = max(1, min(cores() // threads, pieces))
    available = memory_bytes("MemAvailable")
    if available is None or grown_bytes <= 0:
        return wanted, ""
    possible = max(1, int(MEMORY_SHARE * available / grown_bytes))
    return min(wanted, possible), "little_memory" if possible < wanted else ""
