"""When a timing ends, and over how many processes it is spread."""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, cast

from .protocol import AgentError

MOST_PROCESSES = 1000


class Plan(NamedTuple):
    """Bounds of one timing: it ends at the first maximum that is reached.

    Before that it ends when both minima are behind and the median is stable: the medians of the four quarters of the
    runs so far lie within 2 % of each other.

    The timing is spread over ``processes`` fresh ones, each with an equal part of runs and seconds and a warm-up of its
    own: where the system happens to put a process's memory makes it faster or slower for its whole life.
    ``observe_seconds`` is how often the board's state is looked at meanwhile; 0 is never.
    """

    warmup_runs: int = 5
    warmup_seconds: float = 0.1
    min_runs: int = 50
    max_runs: int = 20000
    min_seconds: float = 2.0
    max_seconds: float = 10.0
    observe_seconds: float = 0.0
    processes: int = 9

    @classmethod
    def from_data(cls, data: Mapping[str, float]) -> "Plan":
        """Return the plan that a request asks for; absent fields keep their defaults.

        Raises:
            AgentError: An unknown field, or a minimum above its maximum.
        """
        unknown = sorted(set(data) - set(cls._fields))
        if unknown:
            raise AgentError("request", "unknown bench field %r; expected %s" % (unknown[0], ", ".join(cls._fields)))
        for name, value in data.items():
            kinds = (int,) if type(getattr(cls(), name)) is int else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise AgentError("request", "the bench field %r is %r; expected a number" % (name, value))
        plan = cls(**cast(Any, data))
        possible = 1 <= plan.min_runs <= plan.max_runs and 0 <= plan.min_seconds <= plan.max_seconds
        if not possible or not 1 <= plan.processes <= MOST_PROCESSES:
            raise AgentError("request", "the bounds of the runs contradict each other: %s" % (plan,))
        return plan

    def split(self) -> "List[Plan]":
        """Return the plan of each process, whose runs and seconds add up to this one's; there are no more than runs.

        Example:
            >>> [part.max_runs for part in Plan(min_runs=7, max_runs=7, processes=3).split()]
            [3, 2, 2]
        """
        count = min(self.processes, self.max_runs)
        shared = self._replace(
            min_seconds=self.min_seconds / count, max_seconds=self.max_seconds / count, processes=count
        )
        return [
            shared._replace(
                min_runs=max(1, _share(self.min_runs, number, count)), max_runs=_share(self.max_runs, number, count)
            )
            for number in range(count)
        ]


def _share(total: int, number: int, count: int) -> int:
    """Return what part `number` of `count` gets of `total`, the first ones one more where it does not divide."""
    return total // count + (1 if number < total % count else 0)
