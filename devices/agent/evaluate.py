"""Running many samples through a model, and writing its outputs as they come."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List, Optional

from .arith import Array
from .arrays import OutputFile, Samples
from .batching import Opener, Way, choose, run_rows
from .protocol import AgentError
from .records import Evaluated
from .session import Session


def evaluate(first: Session, opener: Opener, samples: Samples, folder: str, report: Callable[..., Any]) -> Evaluated:
    """Run all samples and write the stored outputs, one .npy file an output, shape (n, ...).

    Args:
        first: A session that is open at the model's own batch, as the latency was measured with.
        opener: Opens another session like it, for the given input shapes.
        samples: The real values of all inputs, at least one sample.
        folder: An existing folder, where ``output-<position>.npy`` are written.
        report: Takes progress: the stage, and the samples that are behind of how many.

    Returns:
        ``samples``, ``batch``, ``workers``, ``reasons`` (keys of `batching.REASONS`), ``seconds``, ``inputs`` (with the
        extent of the values) and ``outputs`` (with the path).

    Raises:
        AgentError: The model fails, an output changes its shape from sample to sample, or a value is not finite.
        OSError: The disk is full.
    """
    start = time.perf_counter_ns()
    way, sessions, head = choose(first, opener, samples)
    files = [
        OutputFile(os.path.join(folder, "output-%d.npy" % position), rows.dtype, (samples.count, *rows.shape[1:]))
        for position, rows in enumerate(head)
    ]
    try:
        _Stream(samples, way, head, files, report).run(sessions, opener)
    finally:
        for file in files:
            file.close()
    return {
        "samples": samples.count,
        "batch": way.batch,
        "workers": way.workers,
        "reasons": list(way.reasons),
        "seconds": (time.perf_counter_ns() - start) / 1e9,
        "inputs": [
            {**tensor.as_data(), "low": extent.low, "high": extent.high}
            for tensor, extent in zip(first.inputs, samples.extents)
        ],
        "outputs": [{**tensor.as_data(), "path": file.path} for tensor, file in zip(first.outputs, files)],
    }


class _Stream:
    """Hands out batches to the workers and puts their outputs in place."""

    def __init__(
        self,
        samples: Samples,
        way: Way,
        head: List[Array],
        files: List[OutputFile],
        report: Callable[..., Any],
    ) -> None:
        self._samples, self._way, self._files, self._report = samples, way, files, report
        self._shapes = [rows.shape[1:] for rows in head]
        self._lock = threading.Lock()
        self._done = min(len(head[0]), samples.count)
        self._next = self._done
        self._write(0, head)

    def run(self, sessions: List[Session], opener: Opener) -> None:
        """Work until all samples are done; `sessions` are those that are open already."""
        inputs = sessions[0].inputs

        def work(number: int) -> None:
            if number < len(sessions):
                self._work(sessions[number])
            else:
                self._work(opener(self._samples.shapes(inputs, self._way.batch)))

        if self._way.workers == 1:
            work(0)
            return
        with ThreadPoolExecutor(self._way.workers) as pool:
            for outcome in [pool.submit(work, number) for number in range(self._way.workers)]:
                outcome.result()

    def _work(self, session: Session) -> None:
        try:
            while True:
                first = self._take()
                if first is None:
                    return
                if session.stateful:
                    session.forget()
                self._write(first, run_rows(session, self._samples, first, self._way.batch))
                self._tell()
        except BaseException:
            with self._lock:
                self._next = self._samples.count  # the others need not go on
            raise

    def _take(self) -> Optional[int]:
        with self._lock:
            first = self._next
            self._next = first + self._way.batch
        return first if first < self._samples.count else None

    def _write(self, first: int, outputs: List[Array]) -> None:
        count = self._samples.count - first
        for file, shape, rows in zip(self._files, self._shapes, outputs):
            if rows.shape[1:] != shape:
                message = "an output changes its shape from sample to sample (%s, then %s), which is not supported"
                raise AgentError("unsupported", message % (shape, rows.shape[1:]))
            file.write(first, rows[:count])

    def _tell(self) -> None:
        with self._lock:
            self._done = min(self._done + self._way.batch, self._samples.count)
            self._report("evaluate", self._done, self._samples.count)
