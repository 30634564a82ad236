"""Calibration samples: which ones are used, and whether they can be trusted, before anything slow runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .dataset import Array, Dataset, load_dataset
from .labels import Labels

Indices = npt.NDArray[np.int64]

_CHUNK = 1 << 24  # elements looked at together
# So many other samples are kept back, to compare the file with the model on what its ranges have not seen.
HELD_BACK = 50


@dataclass(frozen=True)
class Chosen:
    """The samples that calibrate a model, and what is to be said of them.

    Attributes:
        data: The samples that make the ranges.
        warnings: What is odd of them, but usable.
        held_back: Up to `HELD_BACK` other samples of the same source; None where it has no more.
    """

    data: Dataset
    warnings: Sequence[str] = ()
    held_back: Dataset | None = None


def calibration_set(
    source: Any,
    count: int,
    seed: int,
    *,
    image_size: tuple[int, int] | None = None,
    image_scaling: str = "0..255",
    image_resize: str = "bilinear",
) -> Chosen:
    """Return the samples that calibrate a model, with warnings about what is odd but usable, and some held back.

    Args:
        source: Anything that `load_dataset` takes.
        count: How many samples to use.
        seed: Picks which ones, a whole number of at least 0. Of a stream, the first `count` are used.
        image_size: (height, width) that the images of a folder get; None takes the size of the first.
        image_scaling: What the pixels of a folder of images become: ``0..255``, the default, ``0..1`` or ``-1..1``.
        image_resize: How the images of a folder are resized: one of `edgeopt.recipes.convert.IMAGE_RESIZES`.

    Raises:
        DataError: Data that cannot be read, or that `check_values` or `check_variety` refuses.
    """
    most = count + HELD_BACK
    order: list[Indices] = []  # of a folder's images, of which only those chosen are read

    def choose(total: int, labels: Labels | None) -> Indices:
        order.append(sample_order(total, labels, seed)[:most])
        return np.sort(order[0])

    dataset = load_dataset(
        source,
        image_size=image_size,
        image_scaling=image_scaling,
        image_resize=image_resize,
        limit=most,
        choose=choose,
    )
    check_values(dataset)
    if order:
        rows = np.argsort(np.argsort(order[0]))
    elif dataset.streamed:
        rows = np.arange(dataset.count)
    else:
        rows = sample_order(dataset.count, dataset.labels, seed)[:most]
    chosen = dataset.take(np.sort(rows[:count]))
    warnings = check_variety(chosen)
    if chosen.count < count:
        warnings.append(
            f"few-samples: only {chosen.count} calibration samples are there, {count} were asked for; "
            "ranges may be too narrow"
        )
    return Chosen(chosen, warnings, dataset.take(np.sort(rows[count:])) if len(rows) > count else None)


def choose_samples(total: int, labels: Labels | None, count: int, seed: int) -> Indices:
    """Return the indices of at most `count` of `total` samples, ascending: the first of `sample_order`."""
    return np.sort(sample_order(total, labels, seed)[:count])


def sample_order(total: int, labels: Labels | None, seed: int) -> Indices:
    """Return the indices of all samples in the order in which they are chosen: seeded, and balanced over classes.

    With labels (integers, strings or one-hot rows), classes take turns, so that a first part of the order has as many
    of each as the rarest allows.
    """
    order = np.random.default_rng(seed).permutation(total)
    classes = _classes(labels)
    if classes is not None:
        turn = np.zeros(total, dtype=np.int64)  # how many of its class come before each sample
        for label in np.unique(classes):
            members = np.flatnonzero(classes[order] == label)
            turn[members] = np.arange(len(members))
        order = order[np.argsort(turn, kind="stable")]
    return order.astype(np.int64)


def check_values(dataset: Dataset) -> None:
    """Look for values that no range can be measured on, in all samples, whether or not they are chosen.

    Raises:
        DataError: NaN or infinite values; the first sample's index is named.
    """
    if dataset.pictures is not None:
        return  # pixels are finite
    for position, array in enumerate(dataset.arrays):
        if not np.issubdtype(array.dtype, np.inexact):
            continue
        bad = [start + int(index) for start, rows in _chunks(array) for index in _not_finite(rows)]
        if bad:
            kind = "NaN" if np.isnan(array[bad[0]]).any() else "infinite values"
            raise DataError(
                f"{dataset.source} has {kind} in sample {bad[0]}{_of_input(dataset, position)} "
                f"({len(bad)} of {len(array)} samples are not finite); correct or remove them."
            )


def check_variety(dataset: Dataset) -> list[str]:
    """Look for inputs that never change; return warnings when only some of several inputs do not.

    Raises:
        DataError: All inputs are constant.
    """
    arrays = [np.asarray(array) for array in dataset.arrays]
    constant = [(position, array.flat[0]) for position, array in enumerate(arrays) if np.all(array == array.flat[:1])]
    if len(constant) == len(dataset.arrays) and any(array.size > 1 for array in dataset.arrays):
        raise DataError(
            f"{dataset.source} is constant ({constant[0][1]}) over all calibration samples; "
            "expected real samples, because their range calibrates the file."
        )
    if len(dataset.arrays) == 1:
        return []
    return [
        f"constant: the calibration values{_of_input(dataset, position)} are all {value}; the file will be exact "
        "around that value only"
        for position, value in constant
    ]


def check_fit(samples: Mapping[str, Array], dtypes: Mapping[str, str], source: str) -> None:
    """Hold the bound samples to the types of the inputs.

    Raises:
        DataError: Fractions for an integer input, or values that its type cannot hold.
    """
    for name, array in samples.items():
        wanted = dtypes[name]
        if not wanted.startswith(("int", "uint", "bool")) or array.dtype == wanted:
            continue
        low, high = (0, 1) if wanted == "bool" else (np.iinfo(wanted).min, np.iinfo(wanted).max)
        if not np.all(array == np.floor(array)) or np.min(array) < low or np.max(array) > high:
            raise DataError(
                f"{source} gives {array.dtype} values in [{np.min(array)}, {np.max(array)}] for input {name!r} of type "
                f"{wanted}; expected whole numbers that it holds."
            )


def range_warnings(samples: Mapping[str, Array], expectations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Compare the samples' range with what the model's own first layers say it was trained on.

    Args:
        samples: Input name -> array.
        expectations: Items {``input``, ``low``, ``high``, ``layer``}: the span that the layer was made for.
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
                f"range: calibration values of input {item['input']!r} lie in [{low:.4g}, {high:.4g}], but layer "
                f"{item['layer']!r} was made for about [{item['low']:.4g}, {item['high']:.4g}]; check the scaling"
            )
    return warnings


def _of_input(dataset: Dataset, position: int) -> str:
    """Name the input, where there are several."""
    if len(dataset.arrays) == 1:
        return ""
    return f" of input {dataset.names[position]!r}" if dataset.names else f" of array {position}"


def _chunks(array: Array) -> Iterator[tuple[int, Array]]:
    """Split a large array, which may lie on disk, into rows that fit into memory."""
    rows = max(1, _CHUNK // max(1, array[0].size))
    for start in range(0, len(array), rows):
        yield start, np.asarray(array[start : start + rows])


def _not_finite(rows: Array) -> Indices:
    return np.flatnonzero(~np.isfinite(rows).reshape(len(rows), -1).all(axis=1))


def _classes(labels: Labels | None) -> Array | None:
    """Integer classes of the labels, one-hot included; None for regression targets, and for several outputs."""
    if not isinstance(labels, np.ndarray):
        return None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
        return np.asarray(labels.argmax(axis=1))
    if labels.ndim == 1 and labels.dtype.kind in "biuUS":
        return labels
    return None
