"""How many units each group keeps, so that the cost comes down to a target at the least loss of importance.

Global allocation maximises the sum over groups of ``log(importance kept / importance)``: what counts is which part of a
group's importance goes, whatever the scale of its scores, and a group that is thin already is dear to thin further.
Steps are taken greedily, by the loss for each unit of cost saved; a step takes a group to the next lower multiple of
channels. Without normalisation the importance that is lost itself is summed, as by Molchanov et al. (2019), whose
Taylor scores are comparable between layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from .cost import Counts
from .dependencies import Group

Scores = npt.NDArray[np.float64]
Cost = Callable[[Counts], npt.NDArray[np.float64]]

_TINY = 1e-12


def widths(group: Group, multiple: int, minimum: int) -> list[int]:
    """Return the numbers of units that a group may keep, descending: all of them, then multiples of channels.

    Args:
        group: The group.
        multiple: Channel counts become multiples of this, wherever the group occurs.
        minimum: Least channels to keep of the layer that names the group.

    Example:
        20 filters in multiples of 8, at least 8: [20, 16, 8].
    """
    step = multiple // math.gcd(multiple, group.stride)
    least = max(step, step * math.ceil(minimum / group.width / step))
    highest = (len(group.units) - 1) // step * step
    return [len(group.units), *range(highest, least - 1, -step)]


class Ladder:
    """The widths that each group may take, and the importance that is kept at each.

    Args:
        groups: The groups.
        scores: Importance of each group's units, in the order of `Group.units`.
        multiple: See `widths`.
        minimum: See `widths`.
        normalise: Compare relative losses between groups (see the module's docstring), or the scores as they are.
    """

    def __init__(
        self, groups: Sequence[Group], scores: Sequence[Scores], multiple: int, minimum: int, *, normalise: bool = True
    ) -> None:
        self.rungs = [widths(group, multiple, minimum) for group in groups]
        self.values: list[Scores] = []
        for rungs, score in zip(self.rungs, scores, strict=True):
            sums = np.concatenate([[0.0], np.cumsum(np.sort(score)[::-1])])
            if normalise:
                # Groups without any importance (all zeros) are judged by their width alone.
                sums = sums / sums[-1] if sums[-1] > 0 else np.arange(len(sums)) / max(len(sums) - 1, 1)
                sums = np.log(sums + _TINY)
            self.values.append(sums[rungs])

    def counts(self, places: Sequence[int]) -> Counts:
        """Return the units kept at these places on the ladder, one a group."""
        return np.asarray([rungs[place] for rungs, place in zip(self.rungs, places, strict=True)], dtype=np.int64)

    def moves(self, places: Sequence[int], groups: Sequence[int], by: int) -> tuple[list[int], Counts]:
        """Return which of `groups` can go one rung down (+1) or up (-1), and the counts after each of these moves."""
        able = [group for group in groups if 0 <= places[group] + by < len(self.rungs[group])]
        counts = np.repeat(self.counts(places)[np.newaxis], len(able), axis=0)
        for row, group in enumerate(able):
            counts[row, group] = self.rungs[group][places[group] + by]
        return able, counts

    def loss(self, group: int, place: int) -> float:
        """Return the importance that is lost by the step down to `place`; never negative."""
        return max(float(self.values[group][place - 1] - self.values[group][place]), 0.0)


def allocate_globally(ladder: Ladder, cost: Cost, limit: float, fixed: dict[int, int] | None = None) -> Counts:
    """Return the units that each group keeps, found greedily.

    Args:
        ladder: The widths to choose from.
        cost: Cost of each row of counts.
        limit: The most that the result may cost.
        fixed: Groups whose place on the ladder is given.

    Returns:
        Counts, shape (groups,). They cost more than `limit` only when no choice costs less.
    """
    places = [0] * len(ladder.rungs)
    for group, place in (fixed or {}).items():
        places[group] = place
    free = [group for group in range(len(places)) if group not in (fixed or {})]
    if _cost_of(ladder, cost, places) > limit:
        places = _descend(ladder, cost, limit, places, free)
    _give_back(ladder, cost, limit, places, free)
    return ladder.counts(places)


def _cost_of(ladder: Ladder, cost: Cost, places: Sequence[int]) -> float:
    return float(cost(ladder.counts(places)[np.newaxis])[0])


def _descend(ladder: Ladder, cost: Cost, limit: float, places: list[int], free: Sequence[int]) -> list[int]:
    """Go down greedily, and return the best of the places where the next single step reaches the limit.

    A big step that reaches it at once may cost more than several small ones, so steps that reach the limit are noted,
    and the way goes on over those that do not.
    """
    best, least, lost = places, math.inf, 0.0
    while True:
        able, counts = ladder.moves(places, free, 1)
        after = cost(counts) if able else np.zeros(0)
        losses = np.asarray([ladder.loss(group, places[group] + 1) for group in able])
        for group, reached, loss in zip(able, after <= limit, losses, strict=True):
            if reached and lost + loss < least:
                best, least = _down(places, group), lost + loss
        saved = _cost_of(ladder, cost, places) - after
        ratios = np.where((saved > 0) & (after > limit), losses / np.maximum(saved, _TINY), np.inf)
        if not np.isfinite(ratios).any() or lost >= least:
            return best if least < math.inf else places
        step = int(np.argmin(ratios))
        places, lost = _down(places, able[step]), lost + float(losses[step])


def _down(places: list[int], group: int) -> list[int]:
    return [*places[:group], places[group] + 1, *places[group + 1 :]]


def _give_back(ladder: Ladder, cost: Cost, limit: float, places: list[int], free: Sequence[int]) -> None:
    """Undo steps, the dearest first, for as long as the limit holds: the last step down may have overshot."""
    while True:
        able, counts = ladder.moves(places, free, -1)
        costs = cost(counts) if able else []
        fitting = [group for group, after in zip(able, costs, strict=True) if after <= limit]
        if not fitting:
            return
        places[max(fitting, key=lambda group: ladder.loss(group, places[group]))] -= 1


def allocate_uniformly(ladder: Ladder, cost: Cost, limit: float, fixed: dict[int, int] | None = None) -> Counts:
    """Keep the same share of every group, as far as multiples allow: the widest such network within the limit.

    Args and result as for `allocate_globally`.
    """
    shares = sorted({rung / rungs[0] for rungs in ladder.rungs for rung in rungs}, reverse=True)
    places: list[int] = []
    for share in shares:
        places = [_nearest(rungs, share) for rungs in ladder.rungs]
        for group, place in (fixed or {}).items():
            places[group] = place
        if _cost_of(ladder, cost, places) <= limit:
            break
    free = [group for group in range(len(places)) if group not in (fixed or {})]
    _give_back(ladder, cost, limit, places, free)
    return ladder.counts(places)


def _nearest(rungs: Sequence[int], share: float) -> int:
    """Return the place of the widest rung that is at most `share` of the first, or the narrowest."""
    fitting = [place for place, rung in enumerate(rungs) if rung <= share * rungs[0] + 1e-9]
    return fitting[0] if fitting else len(rungs) - 1
