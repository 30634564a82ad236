"""What a model does in front of its file and behind it, in plain Python: the same lines run on the host and on a board.

A step is a mapping of JSON values: ``layer`` and ``class`` (a key of `KINDS`), ``inputs`` and ``output`` by name, and
what the layer computes with (``vocabulary``, ``boundaries``, ...).
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Sequence

import numpy as np


def run_steps(steps: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what is given together with what the steps make of it, by name; the first axis counts samples."""
    values = dict(given)
    for step in steps:
        values[step["output"]] = KINDS[step["class"]](step, *(np.asarray(values[name]) for name in step["inputs"]))
    return values


def look_up(step: Mapping[str, Any], x: Any) -> Any:
    """StringLookup and IntegerLookup: places in the vocabulary; what is not there has the place of [UNK]."""
    places = {word: place for place, word in enumerate(step["vocabulary"])}
    words = [word.decode() if isinstance(word, bytes) else word for word in x.reshape(-1).tolist()]
    return encode(step, np.array([places.get(word, step["unknown"]) for word in words], np.int64).reshape(x.shape))


def encode(step: Mapping[str, Any], x: Any) -> Any:
    """CategoryEncoding, and what the others do besides: numbers become rows of zeros and ones, or of counts."""
    if step["output_mode"] == "int":
        return x
    ones = np.eye(step["size"], dtype=np.float32)[x.astype(int)]
    if step["output_mode"] == "one_hot":
        return ones.reshape(*x.shape[: -1 if x.ndim > 1 and x.shape[-1] == 1 else None], -1)
    rows = ones.reshape(len(x), -1, step["size"])
    return rows.max(axis=1) if step["output_mode"] == "multi_hot" else rows.sum(axis=1)


def discretize(step: Mapping[str, Any], x: Any) -> Any:
    """Discretization: the number of boundaries that are not above."""
    return encode(step, np.digitize(x, np.array(step["boundaries"], np.float32)).astype(np.int64))


def scale(step: Mapping[str, Any], x: Any) -> Any:
    """BatchNormalization, Normalization and Rescaling: (x - shift) * factor + offset."""
    shift, factor, offset = (np.array(step[name], np.float32) for name in ("shift", "factor", "offset"))
    return (x.astype(np.float32) - shift) * factor + offset


def reshape(step: Mapping[str, Any], x: Any) -> Any:
    """Flatten and Reshape."""
    return x.reshape(len(x), *step["shape"])


def concatenate(step: Mapping[str, Any], *parts: Any) -> Any:
    """Concatenate."""
    return np.concatenate(parts, axis=step["axis"])


KINDS = {
    "StringLookup": look_up,
    "IntegerLookup": look_up,
    "CategoryEncoding": encode,
    "Discretization": discretize,
    "BatchNormalization": scale,
    "Normalization": scale,
    "Rescaling": scale,
    "Flatten": reshape,
    "Reshape": reshape,
    "Concatenate": concatenate,
}
