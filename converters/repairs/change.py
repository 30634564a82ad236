"""What a repair did to a float file, and the proof that the file computes what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..outputs import Samples, file_outputs

_LIMIT = 1e-5  # of an output's scale, as for rewritten models


@dataclass(frozen=True)
class Change:
    """A changed float file.

    Attributes:
        kind: A word for the cause, as in `Repair`.
        content: The file.
        tensors: Names of tensors that say which layers it concerns.
        detail: What was done, as a phrase.
        floors: Tensor index -> where its range is to end at the low side.
        proof: The file to prove, where `content` allows for what 8 bits round; None for `content` itself.
    """

    kind: str
    content: bytes = field(repr=False)
    tensors: tuple[str, ...]
    detail: str
    floors: Mapping[int, float] = field(default_factory=dict)
    proof: bytes | None = field(default=None, repr=False)


def computes_the_same(before: bytes, after: bytes, samples: Samples) -> bool:
    """Say whether two float files give the same on samples, up to 1e-5 of the scale of each output."""
    wanted, found = file_outputs(before, samples), file_outputs(after, samples)
    return all(
        np.max(np.abs(values - found[name]), initial=0) <= _LIMIT * np.max(np.abs(values), initial=0)
        for name, values in wanted.items()
    )
