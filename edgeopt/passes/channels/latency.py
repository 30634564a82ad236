"""The cheapest cut that reaches a latency, from a table of measurements: half the MACs is not half the time.

Each group is cut alone to a few widths, and the file that comes out is timed on the device. The time of any combination
is predicted from that table; the best combination is then built and timed itself, and what the prediction was off by
corrects the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import BudgetError
from .allocation import Ladder, allocate_globally
from .cost import CostModel, Counts

# Builds the model that keeps so many units of each group, and returns its latency in milliseconds.
Timer = Callable[[Counts], float]
# Told what runs, how far it is, and of how many.
Advance = Callable[[str, int, int | None], None]

_SHARES = (0.75, 0.5, 0.25)
_ROUNDS = 6
_CLOSE_ENOUGH = 0.03
_LESS = 0.9


@dataclass(frozen=True)
class LatencyPlan:
    """Units kept in each group, and the latencies before and after, in milliseconds."""

    counts: Counts
    before_ms: float
    after_ms: float
    measurements: int


class LatencyTable:
    """Milliseconds saved by each group at a few widths, and the prediction for all widths of all groups together.

    Args:
        ladder: The widths that groups may take.
        macs: The multiply-accumulates of the same groups.
        timer: Times a candidate.
        advance: Told each group that was measured.
    """

    def __init__(self, ladder: Ladder, macs: CostModel, timer: Timer, advance: Advance) -> None:
        self.macs = macs
        self._full = ladder.counts([0] * len(ladder.rungs))
        self.before_ms = timer(self._full)
        self.measurements = 1
        self.curves: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = []
        for group, rungs in enumerate(ladder.rungs):
            widths, saved = [float(rungs[0])], [0.0]
            for rung in _measured_rungs(rungs):
                counts = self._full.copy()
                counts[group] = rung
                widths.append(float(rung))
                # Less work does not take longer: what says so is noise.
                saved.append(max(self.before_ms - timer(counts), saved[-1]))
                self.measurements += 1
            advance("timing narrower channels, group by group", group + 1, len(ladder.rungs))
            self.curves.append((np.asarray(widths[::-1]), np.asarray(saved[::-1])))

    def predict(self, kept: Counts) -> npt.NDArray[np.float64]:
        """Return the predicted latency of each row of `kept`, shape (candidates, groups).

        What a group saves shrinks with the share of its layers' work that other groups have taken away before it: of a
        layer of time t whose inputs are cut to a and outputs to b, t (1 - a b) is saved, and not t (1 - a) + t (1 - b).
        """
        latency = np.full(len(kept), self.before_ms)
        state = np.repeat(self._full[np.newaxis], len(kept), axis=0)
        for group, (widths, saved) in enumerate(self.curves):
            alone = np.interp(kept[:, group], widths, saved)
            latency -= alone * self._work(state, group) / np.maximum(self._work(self._full[np.newaxis], group), 1e-12)
            state[:, group] = kept[:, group]
        return latency

    def _work(self, counts: Counts, group: int) -> npt.NDArray[np.float64]:
        """Return the MACs that would go if the whole of `group` went."""
        without = counts.copy()
        without[:, group] = 0
        return np.asarray(self.macs.of(counts) - self.macs.of(without))


def _key(counts: Counts) -> tuple[int, ...]:
    return tuple(int(value) for value in counts)


def _measured_rungs(rungs: Sequence[int]) -> list[int]:
    wanted = [max((rung for rung in rungs[1:] if rung <= share * rungs[0]), default=rungs[-1]) for share in _SHARES]
    return list(dict.fromkeys(wanted))


def plan_latency(
    ladder: Ladder, table: LatencyTable, timer: Timer, target_ms: float, fixed: dict[int, int]
) -> LatencyPlan:
    """Return the cut that loses the least importance among those that were measured to reach the target.

    Args:
        ladder: The widths, and the importance kept at each.
        table: The measurements.
        timer: Times a candidate.
        target_ms: The latency to reach.
        fixed: Groups whose place on the ladder is given.

    Raises:
        BudgetError: No cut reaches it.
    """
    limit, count = target_ms, table.measurements
    tried: dict[tuple[int, ...], float] = {}
    for _ in range(_ROUNDS):
        counts = allocate_globally(ladder, table.predict, limit, fixed)
        if _key(counts) in tried and min(tried.values()) > target_ms:
            # What is predicted falls no further, but time does: by less work.
            least = min(float(table.macs.of(np.asarray([tried_key]))[0]) for tried_key in tried)
            counts = allocate_globally(ladder, table.macs.of, _LESS * least * target_ms / min(tried.values()), fixed)
        key = _key(counts)
        if key in tried:
            break
        tried[key] = timer(counts)
        count += 1
        if target_ms * (1 - _CLOSE_ENOUGH) <= tried[key] <= target_ms:
            break
        limit = target_ms - (tried[key] - float(table.predict(counts[np.newaxis])[0]))
    reached = {key: latency for key, latency in tried.items() if latency <= target_ms}
    if not reached:
        best = min(tried.values())
        raise BudgetError(
            f"A latency of {target_ms:.4g} ms was asked for, and removing channels came down from "
            f"{table.before_ms:.3g} to {best:.3g} ms; ask for less, lower multiple= or minimum=, or choose a smaller "
            "model."
        )
    key = max(reached, key=lambda item: reached[item])
    return LatencyPlan(np.asarray(key, dtype=np.int64), table.before_ms, reached[key], count)
