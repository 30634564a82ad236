"""All repairs of a float file, one after the other, each proven on samples before it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..outputs import Samples
from .change import Change, computes_the_same
from .channels import even_channels
from .exponentials import bounded_elu, bounded_powers, bounded_softplus
from .joins import affine_before_joins
from .masks import bound_masks
from .norms import robust_norms
from .pictures import fold_into_convolution
from .spelling import multiplied_squares, selected_casts
from .tanhs import small_tanhs
from .wide import added_masks, spelled_differences, spelled_hard_swish

Repairing = Callable[[bytes, Samples], Change | None]


def repair(content: bytes, samples: Samples, repairs: Sequence[Repairing]) -> list[Change]:
    """Return what was changed in a float file: the last change has the file to go on with.

    Args:
        content: A float .tflite file of one subgraph.
        samples: Input name (of its signature) -> samples that the changes are chosen and proven by.
        repairs: Such as those of `REPAIRS`.
    """
    changes: list[Change] = []
    for make in repairs:
        change = make(content, samples)
        if change is not None:
            changes.append(change)
            content = change.content
    return changes


def _proven(make: Repairing, samples: int | None = None) -> Repairing:
    """Leave out a change after which the file computes something else, on the first so many samples (default: all)."""
    some = slice(samples)

    def proven(content: bytes, given: Samples) -> Change | None:
        change = make(content, given)
        first = {name: values[some] for name, values in given.items()}
        same = change is None or computes_the_same(content, change.proof or change.content, first)
        return change if same else None

    return proven


# By the type of the activations. Masks come last and prove themselves: a score far below the others may change.
REPAIRS: dict[str, tuple[Repairing, ...]] = {
    "int8": (
        *map(_proven, (affine_before_joins, fold_into_convolution, robust_norms, multiplied_squares, selected_casts)),
        *map(_proven, (bounded_elu, bounded_softplus, bounded_powers, small_tanhs)),
        _proven(even_channels, samples=8),  # powers of two: exact where they fit at all
        bound_masks,
    ),
    "int16": (*map(_proven, (bounded_elu, spelled_hard_swish, spelled_differences, added_masks)), bound_masks),
}
