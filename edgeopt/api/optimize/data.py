"""The data of a run: read once, checked against the model, and told apart from those of another run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...data.dataset import Dataset, load_dataset
from ...data.labels import leaves
from ...errors import DataError, nearest
from ...evaluation.classes import check_classes
from ...evaluation.metrics import check_output, load_metric
from ...evaluation.scoring import require_labels
from ...recipes.convert import ConvertRecipe
from ...training.feed import is_py_dataset, is_tf_data, lacks_labels

# Rows of each array that go into a digest: enough to tell data sets apart, quick for large ones.
_HASHED_ROWS = 256


@dataclass(frozen=True)
class RunData:
    """Training, validation and calibration data of a run.

    Attributes:
        train: A `Dataset`, or what streams (``tf.data``, PyDataset) as it was given; None where nothing is to train.
        validation: Samples with labels.
        calibration: Samples for the conversion.
        digest: A digest of each, by name: what tells a resumed run that it has the same data.
        test: Samples with labels that judge what the others have chosen; None for none.
    """

    train: Any
    validation: Any
    calibration: Any
    digest: Mapping[str, str]
    test: Any = None


def check_recipe_data(
    train: Any, validation: Any, calibration: Any, convert: ConvertRecipe, *, test: Any = None, trains: bool = True
) -> RunData:
    """Read what can be read at once, and refuse what cannot be used.

    Folders of images are read at the size and with the scaling that `convert` has for calibration. Without `trains`
    there may be no training data, if there are samples to calibrate with.

    Raises:
        DataError: Data that are missing, have no labels or cannot be read, or nothing to calibrate on.
    """
    for name, source, needed in (("train", train, trains), ("validation", validation, True)):
        if source is None and needed:
            raise DataError(f"optimize needs {name} data with labels, and got none; give them as {name}=...")
    if train is None and calibration is None:
        raise DataError("There is nothing to calibrate with; give calibration=..., or train=... to take some of.")
    training = None if train is None else _read(train, convert)
    scored = _read(validation, convert)
    if training is not None and lacks_labels(training):
        name = training.source if isinstance(training, Dataset) else f"the {type(training).__name__}"
        raise DataError(
            f"The training data have no labels; give x and y in place of {name}: a tuple (x, y), or an .npz with the "
            "arrays x and y."
        )
    if calibration is None:
        if is_py_dataset(training):
            raise DataError(
                "The training data come as a PyDataset, of which no calibration samples are taken; give calibration=..."
            )
        calibration = _unweighted(training) if isinstance(training, Dataset) else training
    sources = {"train": training, "validation": scored, "calibration": calibration}
    judging = None if test is None else _read(test, convert)
    if test is not None:
        sources["test"] = judging
    digests = {name: _digest(source) for name, source in sources.items()}
    return RunData(training, scored, calibration, digests, judging)


def check_outputs(model: Any, data: RunData, metric: str, output: str | None) -> None:
    """Raise, before anything slow runs, unless one output is scored, and each has labels that are its own.

    Args:
        model: A Keras model of either flavour.
        data: The run's data.
        metric: Name of the recipe's metric.
        output: Name of the output that is scored; None for the only one.

    Raises:
        UsageError: An unknown metric or output, or several outputs of which none was named.
        DataError: Labels for other outputs than the model has, or none for the one that is scored.
    """
    from ...models.load import describe

    scoring, spec = load_metric(metric), describe(model).spec
    names, shape = spec.output_names, model.output_shape if hasattr(model, "output_shape") else None
    if not names:
        return  # known only once the model is traced
    check_output(scoring, output, names)
    for source in (data.train, data.validation, data.test):
        if isinstance(source, Dataset):
            _check_pictures(source, spec.inputs[0].shape)
            if scoring.of_classes and len(names) == 1 and isinstance(shape, tuple):
                check_classes(source.class_names, shape, names[0], source.source)
    if isinstance(data.train, Dataset):
        _check_training_labels(data.train, names)
    for source, name in ((data.validation, "validation"), (data.test, "test")):
        if isinstance(source, Dataset):
            require_labels(scoring, source.labels_of(output, names), f"{name} data")
        elif source is not None and lacks_labels(source):
            require_labels(scoring, None, f"{name} data")


def _check_pictures(source: Dataset, shape: Sequence[int | None]) -> None:
    """Decode what is not kept in memory once: a damaged picture is not to end a training in the middle."""
    if source.pictures is not None:
        source.pictures.with_channels(shape[-1] if shape else None).check()


def _check_training_labels(train: Dataset, names: Sequence[str]) -> None:
    """Raise unless the training labels are those of the model's outputs."""
    labels = train.labels
    for name in labels if isinstance(labels, Mapping) else ():
        if name not in names:
            raise DataError(f"The training data have labels for an output {name!r}{nearest(name, names)}")
    if isinstance(labels, np.ndarray) and len(names) > 1:
        raise DataError(
            f"The training data have labels for one output, and the model has {len(names)}: {', '.join(names)}; give "
            "a list of arrays in that order, or a dict by output name."
        )
    for name in names:
        train.labels_of(name, names)


def _read(source: Any, convert: ConvertRecipe) -> Any:
    """Read paths, arrays and generators once; what streams anew each time stays as it is."""
    if is_tf_data(source) or is_py_dataset(source):
        return source
    return load_dataset(
        source,
        image_size=convert.image_size,
        image_scaling=convert.image_scaling,
        image_resize=convert.image_resize,
    )


def _unweighted(train: Dataset) -> Dataset:
    """Return the samples with the labels that class by class they are chosen by, as `edgeopt.convert` chooses them."""
    return replace(train, labels=train.labels if isinstance(train.labels, np.ndarray) else None, weights=None)


def _digest(source: Any) -> str:
    """Return a digest of some rows, the shapes and types; of what streams, of its type alone."""
    if not isinstance(source, Dataset):
        return os.fspath(source) if isinstance(source, (str, os.PathLike)) else type(source).__name__
    digest = hashlib.sha256()
    for array in (*source.arrays, *leaves(source.labels), *leaves(source.weights)):
        rows = np.linspace(0, len(array) - 1, min(len(array), _HASHED_ROWS)).astype(np.int64)
        digest.update(str((array.shape, array.dtype)).encode() + np.ascontiguousarray(array[rows]).tobytes())
    return digest.hexdigest()
