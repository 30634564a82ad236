"""All repairs of a float file, one after the other, each proven on samples before it counts."""

from __future__ import annotations

from collections.abc import Callable

from ..outputs import Samples
from .change import Change, computes_the_same
from .joins import affine_before_joins
from .masks import bound_masks
from .norms import robust_norms
from .pictures import fold_into_convolution

Repairing = Callable[[bytes, Samples], Change | None]

# Masks come last and prove themselves: a score far below the others may change.
_EXACT: tuple[Repairing, ...] = (affine_before_joins, fold_into_convolution, robust_norms)


def repair(content: bytes, samples: Samples) -> list[Change]:
    """Return what was changed in a float file: the last change has the file to go on with.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Input name (of its signature) -> samples that the changes are chosen and proven by.
    """
    changes: list[Change] = []
    for make in _EXACT:
        change = make(content, samples)
        if change is not None and computes_the_same(content, change.proof or change.content, samples):
            changes.append(change)
            content = change.content
    masks = bound_masks(content, samples)
    return changes if masks is None else [*changes, masks]
