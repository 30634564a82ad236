"""Which samples were answered rightly, as a text short enough for JSON: what makes two validations a pair."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping

import numpy as np

from .metrics import Array, Outputs
from .scoring import Score


def right_of(score: Score) -> str | None:
    """Return a bit a sample, 1 where it was answered rightly, packed, in base64; None of metrics that are no share."""
    if score.values is None or score.ci_method != "agresti-coull":
        return None
    return base64.b64encode(np.packbits(score.values > 0).tobytes()).decode("ascii")


def read_right(text: str, count: int) -> Array | None:
    """Return what `right_of` packed as booleans, shape ``(count,)``; None where the text is not of so many samples.

    Example:
        >>> read_right("gA==", 3)
        array([ True, False, False])
    """
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except (binascii.Error, ValueError):
        return None
    return None if len(packed) != (count + 7) // 8 else np.unpackbits(packed, count=count).astype(bool)


def data_hash(sample_hashes: list[str], labels: Outputs | None) -> str:
    """Return the SHA-256 of samples, by their hashes, and of their labels, in their order."""
    found = hashlib.sha256("".join(sample_hashes).encode())
    for name, array in sorted(labels.items()) if isinstance(labels, Mapping) else [("", labels)]:
        if array is not None:
            alike = array.astype("<f8") if array.dtype.kind in "biuf" else array
            found.update(name.encode() + alike.tobytes())
    return found.hexdigest()
