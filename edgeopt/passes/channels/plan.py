"""From the options to a decision: which groups may be cut, how far each is, and which of its units go."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import ModelError, UsageError, nearest
from ...training.context import Skipped
from .allocation import Ladder, Scores, widths
from .cost import Counts
from .dependencies import ChannelMap, Group
from .labels import Block, Reason
from .surgery import Mask


@dataclass(frozen=True)
class Candidates:
    """The groups that may be cut, the scores of their units, and those that may not."""

    groups: tuple[Group, ...]
    scores: tuple[Scores, ...]
    skipped: tuple[Skipped, ...]


def candidates(
    channel_map: ChannelMap, scores: Scores, skip: Collection[str], multiple: int, minimum: int
) -> Candidates:
    """Sort the groups into those that may be cut and those that stay, with the reason.

    Raises:
        ModelError: No group may be cut.
    """
    free, kept = [], []
    for group in channel_map.groups:
        block = group.block or _block(group, scores[group.units], skip, multiple, minimum)
        if block is None:
            free.append(group)
        else:
            kept.append(Skipped(group.name, block.reason.value, block.detail))
    if not free:
        raise ModelError(_nothing_to_cut(kept))
    return Candidates(tuple(free), tuple(scores[group.units] for group in free), tuple(kept))


def _block(group: Group, scores: Scores, skip: Collection[str], multiple: int, minimum: int) -> Block | None:
    named = [name for name in group.layers if name in skip]
    if named:
        return Block(Reason.SKIPPED, f"asked for by skip=[{named[0]!r}]")
    if len(widths(group, multiple, minimum)) == 1:
        return Block(Reason.NARROW, f"{group.channels} channels; cut in multiples of {multiple}, at least {minimum}")
    if not np.isfinite(scores).all():
        return Block(Reason.NO_SCORE, "the importance criterion does not apply to it")
    return None


def _nothing_to_cut(kept: Sequence[Skipped]) -> str:
    if not kept:
        return (
            "The model has no layer with channels to remove; expected a convolution or a Dense layer before the last."
        )
    told = "; ".join(f"{entry.subject!r}: {entry.reason}, {entry.detail}" for entry in kept[:5])
    more = f" and {len(kept) - 5} more" if len(kept) > 5 else ""
    return (
        f"No channels of this model can be removed ({told}{more}); lower multiple= or minimum=, or change those layers."
    )


def check_names(channel_map: ChannelMap, names: Collection[str], option: str) -> None:
    """Raise unless each name is that of a layer with filters or neurons of its own.

    Raises:
        UsageError: An unknown name (the nearest is told), or a layer without any.
    """
    valid = {name for group in channel_map.groups for name in group.layers}
    present = {step.name for step in channel_map.graph.steps}
    for name in names:
        if name in valid:
            continue
        if name in present:
            raise UsageError(
                f"{option} names {name!r}, which makes no channels of its own; name the layer that makes them."
            )
        raise UsageError(f"{option} names {name!r}, which is no layer of the model{nearest(name, valid or present)}")


def fixed_places(
    groups: Sequence[Group], ladder: Ladder, wanted: Mapping[str, float], original: Mapping[str, int]
) -> dict[int, int]:
    """Return the place on the ladder of each group that a layer map names: the widest within the share to keep.

    Args:
        groups: The groups of the ladder.
        ladder: Their widths.
        wanted: Layer name -> fraction of its channels to remove.
        original: Group name -> its units in the model that was given.

    Raises:
        UsageError: Two layers of one group are given different fractions, or a named layer's group may not be cut.
    """
    places: dict[int, int] = {}
    named: set[str] = set()
    for index, group in enumerate(groups):
        found = {name: wanted[name] for name in group.layers if name in wanted}
        if len(set(found.values())) > 1:
            raise UsageError(f"layers= gives {found}, but these layers share their channels; give them one fraction.")
        if found:
            named |= set(found)
            limit = (1.0 - next(iter(found.values()))) * original[group.name] + 1e-9
            rungs = ladder.rungs[index]
            places[index] = next((place for place, rung in enumerate(rungs) if rung <= limit), len(rungs) - 1)
    for name in wanted:
        if wanted[name] > 0 and name not in named:
            raise UsageError(
                f"layers= asks to cut {name!r}, whose channels have to stay; leave it out, or change skip=."
            )
    return places


def mask(channel_map: ChannelMap, groups: Sequence[Group], scores: Sequence[Scores], counts: Counts) -> Mask:
    """Return which units are kept, shape (units,): the most important of each group; equals go by their order."""
    kept = np.ones(channel_map.unit_count, dtype=np.bool_)
    for group, score, count in zip(groups, scores, counts, strict=True):
        order = np.argsort(-score, kind="stable")
        kept[group.units[order[int(count) :]]] = False
    return kept
