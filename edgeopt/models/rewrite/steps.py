"""The layers at the ends of a model as steps of plain Python: what each computes with, as JSON values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...devices.agent.front import KINDS
from ..graph.read import Step
from ..graph.structure import Ref, refs_in
from . import affine
from .changes import NotExactError


def described(steps: Sequence[Step], names: Mapping[Ref, str]) -> Iterator[dict[str, Any]]:
    """Yield steps as `edgeopt.devices.agent.front` runs them; `names` are those of their tensors."""
    for step in steps:
        ends = {"inputs": [names[ref] for ref in refs_in(step.args)], "output": names[step.outputs[0]]}
        yield {"layer": step.name, "class": step.kind, **ends, **(settings(step) or {})}


def settings(step: Step) -> dict[str, Any] | None:
    """Return what a step computes with, as `devices.agent.front` reads it; None for one that is not known there."""
    called = {key: value for key, value in step.kwargs.items() if key != "training" and value is not None}
    if step.kind not in KINDS or called or len(step.outputs) != 1:
        return None
    return _SETTINGS[step.kind](step.layer, step)


def _lookup(layer: Any, step: Step) -> dict[str, Any] | None:
    if layer.num_oov_indices > 1 or layer.invert or layer.output_mode == "tf_idf" or layer.sparse:
        return None
    words = [word.item() if hasattr(word, "item") else word for word in layer.get_vocabulary()]
    unknown = words.index(layer.oov_token) if layer.num_oov_indices else -1
    size = layer.max_tokens if layer.pad_to_max_tokens else len(words)
    return {"vocabulary": words, "unknown": unknown, "output_mode": layer.output_mode, "size": size}


def _encoding(layer: Any, step: Step) -> dict[str, Any] | None:
    return None if layer.sparse else {"output_mode": layer.output_mode, "size": layer.num_tokens}


def _discretization(layer: Any, step: Step) -> dict[str, Any] | None:
    boundaries = [float(edge) for edge in layer.bin_boundaries]
    mode = {"output_mode": layer.output_mode, "size": len(boundaries) + 1}
    return None if layer.sparse else {"boundaries": boundaries, **mode}


def _normalization(layer: Any, step: Step) -> dict[str, Any] | None:
    if layer.invert:
        return None
    mean, variance = (np.asarray(part, np.float32) for part in (layer.mean, layer.variance))
    factor = 1 / np.maximum(np.sqrt(variance), np.float32(1e-7))  # Keras' epsilon
    return {"shift": mean.tolist(), "factor": factor.tolist(), "offset": 0.0}


def _rescaling(layer: Any, step: Step) -> dict[str, Any] | None:
    factor, offset = (np.asarray(part, np.float32).tolist() for part in (layer.scale, layer.offset))
    return {"shift": 0.0, "factor": factor, "offset": offset}


def _batch_norm(layer: Any, step: Step) -> dict[str, Any] | None:
    try:
        found = affine.read(layer, step.outputs[0].shape)
    except NotExactError:
        return None
    factor, offset = (np.asarray(part, np.float32).tolist() for part in (found.scale, found.offset))
    return {"shift": 0.0, "factor": factor, "offset": offset}


def _reshape(layer: Any, step: Step) -> dict[str, Any] | None:
    shape = step.outputs[0].shape[1:]
    return None if None in shape else {"shape": list(shape)}


def _concatenate(layer: Any, step: Step) -> dict[str, Any] | None:
    return {"axis": int(layer.axis)}


_SETTINGS: dict[str, Callable[[Any, Step], dict[str, Any] | None]] = {
    "StringLookup": _lookup,
    "IntegerLookup": _lookup,
    "CategoryEncoding": _encoding,
    "Discretization": _discretization,
    "BatchNormalization": _batch_norm,
    "Normalization": _normalization,
    "Rescaling": _rescaling,
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Concatenate": _concatenate,
}
