"""How many units each group keeps, so that the cost comes down to a target at the least loss of importance.

Global allocation minimises the sum over groups of ``importance / importance kept``: what counts is which part of a
group's importance goes, whatever the scale of its scores, and a group that is thin already is dear to thin further.
Where the cost is a product of widths, thinning two layers a little is better than one of them a lot.
Moves are made greedily, by the loss for each unit of cost saved; a move takes one group to a lower multiple of
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
                sums = -1.0 / (sums + _TINY)
            self.values.append(sums[rungs])

    def counts(self, places: Sequence[int]) -> Counts:
        """Return the units kept at these places on the ladder, one a group."""
        return np.asarray([rungs[place] for rungs, place in zip(self.rungs, places, strict=True)], dtype=np.int64)

    def after(self, places: Sequence[int], moves: Sequence[tuple[int, int]]) -> Counts:
        """Return the units kept after each move (group, place), shape (moves, groups)."""
        counts = np.repeat(self.counts(places)[np.newaxis], len(moves), axis=0)
        for row, (group, place) in enumerate(moves):
            counts[row, group] = self.rungs[group][place]
        return counts

    def loss(self, group: int, place: int, lower: int) -> float:
        """Return the importance that is lost by going from `place` to `lower`; never negative."""
        return max(float(self.values[group][place] - self.values[group][lower]), 0.0)


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
    """Go down greedily, and return the best of the places where the next move of one group reaches the limit.

    A move may be over several rungs, since a device need not get faster with each of them. One that reaches the limit
    at once may lose more than several small ones, so it is noted, and the way goes on over those that do not reach it.
    """
    best, least, lost = places, math.inf, 0.0
    while True:
        moves = [(group, place) for group in free for place in range(places[group] + 1, len(ladder.rungs[group]))]
        after = cost(ladder.after(places, moves)) if moves else np.zeros(0)
        losses = np.asarray([ladder.loss(group, places[group], place) for group, place in moves])
        for index in np.flatnonzero(after <= limit):
            if lost + losses[index] < least:
                best, least = _moved(places, moves[index]), lost + float(losses[index])
        saved = _cost_of(ladder, cost, places) - after
        ratios = np.where((saved > 0) & (after > limit), losses / np.maximum(saved, _TINY), np.inf)
        if not np.isfinite(ratios).any() or lost >= least:
            return best if least < math.inf else places
        step = int(np.argmin(ratios))
        places, lost = _moved(places, moves[step]), lost + float(losses[step])


def _moved(places: list[int], move: tuple[int, int]) -> list[int]:
    group, place = move
    return [*places[:group], place, *places[group + 1 :]]


def _give_back(ladder: Ladder, cost: Cost, limit: float, places: list[int], free: Sequence[int]) -> None:
    """Undo single steps, the dearest first, for as long as the limit holds: the last move may have overshot."""
    while True:
        moves = [(group, places[group] - 1) for group in free if places[group] > 0]
        costs = cost(ladder.after(places, moves)) if moves else np.zeros(0)
        fitting = [move for move, after in zip(moves, costs, strict=True) if after <= limit]
        if not fitting:
            return
        group, place = max(fitting, key=lambda move: ladder.loss(move[0], move[1], places[move[0]]))
        places[group] = place


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
