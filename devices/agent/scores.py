"""Scoring on the board, for use by hand; a host computes its metrics itself, with the same arithmetic."""

from __future__ import annotations

from typing import Dict, List, Sequence

import numpy as np

from .arith import Array, dequantize, hits
from .npy import NotAnArray, map_npy
from .protocol import AgentError
from .records import TensorFacts


def read_outputs(outputs: Sequence[TensorFacts]) -> List[Array]:
    """Return the real values of the outputs that a reply lists, in the model's order."""
    found = []
    for output in outputs:
        stored = map_npy(output["path"])
        scale = output["scale"]
        found.append(stored if scale is None else dequantize(np.asarray(stored), scale, output["zero_point"]))
    return found


def score(outputs: List[Array], labels_path: str) -> Dict[str, float]:
    """Return the metrics of the first output: accuracy (and top5) for class numbers, mae and mse for other values.

    Raises:
        AgentError: The labels are no array of numbers, or do not fit the output.
    """
    try:
        labels = map_npy(labels_path)
    except (OSError, NotAnArray) as error:
        message = "%s is no array of numbers in .npy format (%s)" % (labels_path, error)
        raise AgentError("data", message) from error
    output = outputs[0]
    if labels.dtype.kind not in "biuf" or labels.shape[:1] != output.shape[:1]:
        message = "%s holds %s labels for %d samples; expected one number a sample"
        raise AgentError("data", message % (labels_path, labels.shape, len(output)))
    if labels.dtype.kind in "iub" and output.ndim <= 2 and labels.size == len(output):
        return _classes(output, labels.reshape(-1).astype(np.int64))
    if labels.shape != output.shape:
        message = "the labels have the shape %s, but the output has %s; expected the same, or one class a sample"
        raise AgentError("data", message % (labels.shape, output.shape))
    difference = output.astype(np.float64) - labels
    return {"mae": float(np.abs(difference).mean()), "mse": float(np.square(difference).mean())}


def _classes(output: Array, labels: Array) -> Dict[str, float]:
    fields = {"accuracy": float(hits(output, labels).mean())}
    if output.ndim == 2 and output.shape[1] > 5:
        fields["top5"] = float(hits(output, labels, 5).mean())
    return fields
