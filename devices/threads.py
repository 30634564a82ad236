"""The best number of threads for a file on a device, found by timing numbers of threads in turns.

Two numbers are timed as two files are: in blocks A B B A in one process, and in several processes. The next number is
held against the best so far, and takes its place only where the interval of the ratio lies below 1: a thread that
shows no gain is not worth its core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from .measurement import Comparison
from .measures import Measures
from .plans import RunOptions
from .runner import Progress


@dataclass(frozen=True)
class ThreadTrial:
    """One number of threads, timed in turns with the best so far.

    Attributes:
        threads: The number that was tried, at least 2.
        held_against: The best so far.
        comparison: Their times; the ratio is below 1 where `threads` is faster.
    """

    threads: int
    held_against: int
    comparison: Comparison

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as JSON holds them."""
        return {"threads": self.threads, "held_against": self.held_against, "comparison": self.comparison.to_dict()}


@dataclass(frozen=True)
class ThreadChoice:
    """The number of threads that was chosen, and why.

    Attributes:
        chosen: The number, at least 1.
        cores: How many cores the device has; no more threads are tried.
        trials: What was tried, in order; none on one core.
    """

    chosen: int
    cores: int
    trials: tuple[ThreadTrial, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as JSON holds them."""
        return {"chosen": self.chosen, "cores": self.cores, "trials": [trial.to_dict() for trial in self.trials]}


def best_threads(
    device: Measures,
    model: bytes,
    inputs: Mapping[str, npt.NDArray[Any]] | None,
    options: RunOptions,
    cores: int,
    on_progress: Callable[[Progress], None] | None = None,
) -> ThreadChoice:
    """Find the best number of threads.

    Args:
        device: Where.
        model: The bytes of the file.
        inputs: Samples, the first of which is run; None for noise.
        options: How it is run; its `threads` are not looked at, and its `bench` says how long each trial takes.
        cores: How many cores the device has.
        on_progress: Called with every sign of life.

    Raises:
        EdgeoptError: As in `Device.measure`.
    """
    best, trials = 1, []
    for count in numbers(cores)[1:]:
        given = replace(options, threads=count, against_threads=best, op_profile=False)
        measured = device.measure(model, inputs, given, against=model, evaluate=False, on_progress=on_progress)
        compared = measured.timed().comparison
        if compared is None:
            raise RuntimeError("a timing in turns came back without its comparison")
        trials.append(ThreadTrial(count, best, compared))
        best = count if compared.verdict == "faster" else best
    return ThreadChoice(best, cores, tuple(trials))


def numbers(cores: int) -> list[int]:
    """Return the numbers of threads that are tried on a device: powers of two, and all its cores.

    Example:
        >>> numbers(6)
        [1, 2, 4, 6]
    """
    return sorted({1 << power for power in range(max(1, cores).bit_length()) if 1 << power <= cores} | {max(1, cores)})
