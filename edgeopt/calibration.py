"""Calibration samples: which ones are used, and whether they can be trusted, before anything slow runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .data import Array, Dataset
from .errors import DataError


def choose_samples(dataset: Dataset, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the indices of at most `count` samples, ascending: seeded, and balanced over classes if there are labels.

    With labels, classes take turns until `count` is reached, so that each has as many samples as the rarest allows.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(dataset.count)
    labels = _class_labels(dataset.labels)
    if labels is not None:
        turn = np.zeros(dataset.count, dtype=np.int64)  # how many of its class come before each sample
        for label in np.unique(labels):
            members = np.flatnonzero(labels[order] == label)
            turn[members] = np.arange(len(members))
        order = order[np.argsort(turn, kind="stable")]
    return np.sort(order[:count]).astype(np.int64)


def check_samples(samples: Mapping[str, Array], asked: int, source: str) -> list[str]:
    """Check the chosen samples; return warnings about what is odd but usable.

    Args:
        samples: Input name -> array of shape (samples, ...).
        asked: How many samples were asked for.
        source: Where they came from, for messages.

    Raises:
        DataError: NaN or infinite values (the first sample's index is named), or an input that never changes.
    """
    warnings = []
    for name, array in samples.items():
        if np.issubdtype(array.dtype, np.floating):
            flat = np.asarray(array).reshape(len(array), -1)
            bad = np.flatnonzero(~np.isfinite(flat).all(axis=1))
            if bad.size:
                kind = "NaN" if np.isnan(flat[bad[0]]).any() else "infinite values"
                raise DataError(
                    f"{source} has {kind} in calibration sample {bad[0]} of input {name!r} "
                    f"({bad.size} of {len(flat)} samples); remove those samples."
                )
        if array.size > 1 and np.all(array == array.reshape(-1)[0]):
            value = array.reshape(-1)[0]
            raise DataError(
                f"{source} is constant ({value}) for input {name!r}; expected real samples, whose range calibrates the file."
            )
    count = len(next(iter(samples.values())))
    if count < asked:
        warnings.append(f"only {count} calibration samples are there, {asked} were asked for; ranges may be too narrow")
    return warnings


def range_warnings(samples: Mapping[str, Array], expectations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Compare the samples' range with what the model's own first layers say it was trained on.

    Args:
        samples: Input name -> array.
        expectations: Items {``input``, ``low``, ``high``, ``layer``}: the span that the layer of that name was made for.
    """
    warnings = []
    for item in expectations:
        array = samples.get(str(item["input"]))
        if array is None:
            continue
        low, high = float(np.min(array)), float(np.max(array))
        span, expected = high - low, float(item["high"]) - float(item["low"])
        outside = high < item["low"] or low > item["high"]
        if outside or span > 4 * expected or span < expected / 20:
            warnings.append(
                f"calibration values of input {item['input']!r} lie in [{low:.4g}, {high:.4g}], but layer {item['layer']!r} "
                f"was made for about [{item['low']:.4g}, {item['high']:.4g}]; check the scaling"
            )
    return warnings


def _class_labels(labels: Array | None) -> Array | None:
    """Integer classes of the labels, one-hot included; None for regression targets."""
    if labels is None:
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
        return np.asarray(labels.argmax(axis=1))
    if labels.ndim == 1 and (
        np.issubdtype(labels.dtype, np.integer) or labels.dtype == np.bool_ or labels.dtype.kind in "US"
    ):
        return labels
    return None
