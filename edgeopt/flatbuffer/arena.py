"""What one arena with fixed offsets needs, planned as the TFLite interpreter does.

Blocks that live through the whole run are placed first, the others biggest first, each into the smallest gap that is
free for as long as it lives: the greedy planner by size of Pisarchyk and Lee, "Efficient memory management for deep
neural net inference" (2020), as in tensorflow/lite/arena_planner.cc and simple_memory_arena.cc.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

ALIGNMENT = 64
# Each block is compared with all those placed before it; past this it would take minutes.
_MOST_BLOCKS = 5_000
_MOST_BYTES = 2**62


class Block(NamedTuple):
    """Memory that is taken from step `first` to step `last` of a run, both included."""

    name: str
    nbytes: int
    first: int
    last: int


def arena_bytes(blocks: list[Block], steps: int) -> int | None:
    """Return the size of the arena for `blocks` over a run of `steps` steps; None for more than can be planned."""
    if len(blocks) > _MOST_BLOCKS or sum(block.nbytes + ALIGNMENT for block in blocks) > _MOST_BYTES:
        return None
    order = sorted(blocks, key=lambda block: _placed_at(block, steps))
    first, last = (np.array([block[field] for block in order], np.int64) for field in (2, 3))
    starts, ends = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
    for position, block in enumerate(order):
        together = (first[:position] <= block.last) & (last[:position] >= block.first)
        starts[position] = _smallest_gap(starts[:position][together], ends[:position][together], block.nbytes)
        ends[position] = starts[position] + block.nbytes
    return int(ends.max(initial=0))


def _placed_at(block: Block, steps: int) -> tuple[int, int, int]:
    whole_run = block.first == 0 and block.last == steps - 1
    return (0, 0, 0) if whole_run else (1, -block.nbytes, block.first)


def _smallest_gap(starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], size: int) -> int:
    """Return the aligned offset of the smallest gap of `size` bytes between the intervals [starts, ends)."""
    order = np.argsort(starts, kind="stable")
    free = np.concatenate((np.zeros(1, np.int64), np.maximum.accumulate(ends[order])))
    free = (free + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    room = starts[order] - free[:-1]
    fits = np.flatnonzero(room >= size)
    return int(free[fits[np.argmin(room[fits])]] if fits.size else free[-1])
