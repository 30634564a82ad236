"""The data of a run, read once, and the loss that goes with them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Dataset, load_dataset
from ..errors import DataError, UsageError

# Rows of each array that go into a digest: enough to tell data sets apart, quick for large ones.
_HASHED_ROWS = 256


@dataclass(frozen=True)
class RunData:
    """Training, validation and calibration data of a run.

    Attributes:
        train: A `Dataset`, or what streams (``tf.data``, PyDataset) as it was given.
        validation: Samples with labels.
        calibration: Samples for the conversion.
        digest: Of each, by name.
    """

    train: Any
    validation: Any
    calibration: Any
    digest: Mapping[str, str]


def check_recipe_data(train: Any, validation: Any, calibration: Any) -> RunData:
    """Read what can be read at once, and refuse what cannot be used.

    Raises:
        DataError: Data that are missing or cannot be read, or nothing to calibrate on.
    """
    for name, source in (("train", train), ("validation", validation)):
        if source is None:
            raise DataError(f"optimize needs {name} data with labels, and got none; give them as {name}=...")
    taught, scored = _read(train), _read(validation)
    if calibration is None:
        if hasattr(train, "__getitem__") and not isinstance(taught, (Dataset, tuple)):
            raise DataError(
                "The training data come as a PyDataset, of which no calibration samples are taken; give calibration=..."
            )
        calibration = Dataset(taught.arrays, taught.names, source=taught.source, note=taught.note) if isinstance(
            taught, Dataset
        ) else taught  # fmt: skip
    sources = {"train": taught, "validation": scored, "calibration": calibration}
    return RunData(taught, scored, calibration, {name: _digest(source) for name, source in sources.items()})


def loss_for(model: Any, loss: Any, train: Any) -> Any:
    """Return the loss of a run: the one that was given, the compiled one, or what labels and outputs suggest.

    Whole numbers without an axis of their own are class numbers; rows that sum to 1 are classes too; anything else is
    regression, by the mean squared error. Whether the outputs are probabilities or logits is seen on some samples.

    Raises:
        UsageError: Nothing suggests itself: several outputs, or data that stream.
    """
    if loss is not None:
        return loss
    if getattr(model, "loss", None) is not None:
        return model.loss
    labels = train.labels if isinstance(train, Dataset) else None
    shape = getattr(model, "output_shape", None)
    if labels is None or not isinstance(shape, tuple):
        raise UsageError(
            "The model is not compiled and the data do not tell which loss to train with; give loss=... "
            "(loss = '...' in the recipe)."
        )
    from ..models.detect import Flavour
    from ..models.load import flavour_of, import_keras

    losses = import_keras(flavour_of(model) or Flavour.KERAS3).losses
    classes = shape[-1] or 0
    if labels.dtype.kind in "iub" and labels.size == len(labels) and classes > 1:
        return losses.SparseCategoricalCrossentropy(from_logits=not _gives_shares(model, train, rows=True))
    if labels.dtype.kind in "iub" and classes == 1:
        return losses.BinaryCrossentropy(from_logits=not _gives_shares(model, train, rows=False))
    if labels.ndim == 2 and labels.shape[1] == classes > 1 and np.allclose(labels.sum(1), 1) and labels.min() >= 0:
        return losses.CategoricalCrossentropy(from_logits=not _gives_shares(model, train, rows=True))
    return losses.MeanSquaredError()


def _gives_shares(model: Any, train: Dataset, *, rows: bool) -> bool:
    """Whether outputs lie in [0, 1], and (`rows`) each row sums to 1 within rounding, on a few samples."""
    from ..models.load import describe

    loaded = describe(model)
    specs = loaded.spec.inputs
    few = train.take(np.arange(min(16, train.count)))
    bound = few.bind([item.name for item in specs], [item.shape for item in specs])
    import tensorflow as tf

    outputs = np.asarray(loaded.call([tf.constant(bound[item.name], dtype=item.dtype) for item in specs]))
    inside = bool(outputs.min() >= 0 and outputs.max() <= 1)
    return inside and (not rows or bool(np.allclose(outputs.sum(-1), 1, atol=1e-2)))


def _read(source: Any) -> Any:
    """Read paths and arrays once; what streams, or has labels for several outputs, stays."""
    if isinstance(source, (str, os.PathLike, Mapping)):
        return load_dataset(source)
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[1], (Mapping, list, tuple)):
        return load_dataset(source)
    return source


def _digest(source: Any) -> str:
    """Return a digest of some rows, the shapes and types; of what streams, of its type alone."""
    if not isinstance(source, Dataset):
        return os.fspath(source) if isinstance(source, (str, os.PathLike)) else type(source).__name__
    digest = hashlib.sha256()
    for array in (*source.arrays, *(() if source.labels is None else (source.labels,))):
        rows = np.linspace(0, len(array) - 1, min(len(array), _HASHED_ROWS)).astype(np.int64)
        digest.update(str((array.shape, array.dtype)).encode() + np.ascontiguousarray(array[rows]).tobytes())
    return digest.hexdigest()
