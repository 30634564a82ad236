"""The data of a run, read once, and the loss that goes with them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import Dataset, load_dataset
from ..errors import DataError, UsageError, nearest
from ..labels import leaves
from ..metrics import check_output, load_metric
from ..passes.training_data import is_py_dataset
from ..recipe import ConvertRecipe
from ..scoring import require_labels

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


def check_recipe_data(train: Any, validation: Any, calibration: Any, convert: ConvertRecipe) -> RunData:
    """Read what can be read at once, and refuse what cannot be used.

    Folders of images are read at the size and with the scaling that `convert` has for calibration.

    Raises:
        DataError: Data that are missing, have no labels or cannot be read, or nothing to calibrate on.
    """
    for name, source in (("train", train), ("validation", validation)):
        if source is None:
            raise DataError(f"optimize needs {name} data with labels, and got none; give them as {name}=...")
    taught, scored = _read(train, convert), _read(validation, convert)
    if _lacks_labels(taught):
        name = taught.source if isinstance(taught, Dataset) else f"the {type(taught).__name__}"
        raise DataError(
            f"The training data have no labels; give x and y in place of {name}: a tuple (x, y), or an .npz with the "
            "arrays x and y."
        )
    if calibration is None:
        if is_py_dataset(taught):
            raise DataError(
                "The training data come as a PyDataset, of which no calibration samples are taken; give calibration=..."
            )
        calibration = (
            replace(taught, labels=None, label_name="", weights=None) if isinstance(taught, Dataset) else taught
        )
    sources = {"train": taught, "validation": scored, "calibration": calibration}
    return RunData(taught, scored, calibration, {name: _digest(source) for name, source in sources.items()})


def check_outputs(model: Any, data: RunData, metric: str, output: str | None) -> None:
    """Raise, before anything slow runs, unless one output is scored, and each has labels that are its own.

    Args:
        model: A Keras model.
        data: Of the run.
        metric: Of the recipe.
        output: The one to be scored, of the recipe; None for the only one.

    Raises:
        UsageError: An unknown metric or output, or several outputs of which none was named.
        DataError: Labels for other outputs than the model has, or none for the one that is scored.
    """
    from ..models.load import describe

    scoring, names = load_metric(metric), describe(model).spec.output_names
    if not names:
        return  # known only once the model is traced
    check_output(scoring, output, names)
    if isinstance(data.train, Dataset):
        _check_taught(data.train, names)
    if isinstance(data.validation, Dataset):
        require_labels(scoring, data.validation.labels_of(output, names), "validation data")
    elif _lacks_labels(data.validation):
        require_labels(scoring, None, "validation data")


def loss_for(model: Any, loss: Any, train: Any) -> Any:
    """Return the loss of a run: the one that was given, the compiled one, or what labels and outputs suggest.

    Whole numbers without an axis of their own are class numbers (for a single output, 0 and 1); rows that sum to 1 are
    classes too; anything else is regression, by the mean squared error. Whether the outputs are probabilities or logits
    is seen on some samples. A model with several outputs gets a loss for each.

    Raises:
        UsageError: Nothing suggests itself, as the data stream; or there is no loss of that name.
    """
    from ..models.detect import Flavour
    from ..models.load import flavour_of, import_keras

    losses = import_keras(flavour_of(model) or Flavour.KERAS3).losses
    if isinstance(loss, str):
        _check_loss_name(loss, losses)
    if loss is not None:
        return loss
    if getattr(model, "loss", None) is not None:
        return model.loss
    labels = train.labels if isinstance(train, Dataset) else None
    if labels is None or getattr(model, "output_shape", None) is None:
        raise UsageError(
            "The model is not compiled and the data do not tell which loss to train with; give loss=... "
            "(loss = '...' in the recipe)."
        )
    outputs = _few_outputs(model, train)
    if len(outputs) == 1:
        (name,) = outputs
        return _suited(train.labels_of(name, [name]), outputs[name], losses)
    found = {name: _suited(train.labels_of(name, [*outputs]), array, losses) for name, array in outputs.items()}
    return found if isinstance(model.output_shape, Mapping) else list(found.values())


def _check_loss_name(name: str, losses: Any) -> None:
    try:
        losses.get(name)
    except ValueError as error:
        known = {item for item in dir(losses) if item.islower() and callable(getattr(losses, item))}
        known = {*known, "mse", "mae", "mape", "msle", "kld"} - {"get", "serialize", "deserialize"}
        raise UsageError(f"Unknown loss {name!r}{nearest(name, known)}") from error


def _suited(labels: Any, outputs: Any, losses: Any) -> Any:
    """Return the loss that the labels of one output, and some of its values, suggest."""
    classes = outputs.shape[-1] if outputs.ndim > 1 else 1
    whole = labels.dtype.kind in "iub"
    if whole and labels.size == len(labels) and classes > 1:
        return losses.SparseCategoricalCrossentropy(from_logits=not _are_shares(outputs, rows=True))
    if whole and classes == 1 and labels.min() >= 0 and labels.max() <= 1:
        return losses.BinaryCrossentropy(from_logits=not _are_shares(outputs, rows=False))
    if labels.ndim == 2 and labels.shape[1] == classes > 1 and np.allclose(labels.sum(1), 1) and labels.min() >= 0:
        return losses.CategoricalCrossentropy(from_logits=not _are_shares(outputs, rows=True))
    return losses.MeanSquaredError()


def _are_shares(outputs: Any, *, rows: bool) -> bool:
    """Whether outputs lie in [0, 1], and (`rows`) each row sums to 1 within rounding."""
    inside = bool(outputs.min() >= 0 and outputs.max() <= 1)
    return inside and (not rows or bool(np.allclose(outputs.sum(-1), 1, atol=1e-2)))


def _few_outputs(model: Any, train: Dataset) -> dict[str, Any]:
    """Return each output's values for a few samples, by name."""
    from ..models.keras_spec import tree_of
    from ..models.load import describe

    loaded = describe(model)
    specs = loaded.spec.inputs
    few = train.take(np.arange(min(16, train.count)))
    bound = few.bind([item.name for item in specs], [item.shape for item in specs])
    import tensorflow as tf

    outputs = loaded.call([tf.constant(bound[item.name], dtype=item.dtype) for item in specs])
    names = loaded.spec.output_names or ["output"]
    return {
        name: np.asarray(array) for name, array in zip(names, tree_of(loaded.flavour).flatten(outputs), strict=True)
    }


def _check_taught(train: Dataset, names: Sequence[str]) -> None:
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
    if hasattr(source, "element_spec") or is_py_dataset(source):
        return source
    return load_dataset(source, image_size=convert.image_size, image_scaling=convert.image_scaling)


def _lacks_labels(source: Any) -> bool:
    if isinstance(source, Dataset):
        return source.labels is None
    specification = getattr(source, "element_spec", ())
    return hasattr(source, "element_spec") and not (isinstance(specification, tuple) and len(specification) in (2, 3))


def _digest(source: Any) -> str:
    """Return a digest of some rows, the shapes and types; of what streams, of its type alone."""
    if not isinstance(source, Dataset):
        return os.fspath(source) if isinstance(source, (str, os.PathLike)) else type(source).__name__
    digest = hashlib.sha256()
    for array in (*source.arrays, *leaves(source.labels), *leaves(source.weights)):
        rows = np.linspace(0, len(array) - 1, min(len(array), _HASHED_ROWS)).astype(np.int64)
        digest.update(str((array.shape, array.dtype)).encode() + np.ascontiguousarray(array[rows]).tobytes())
    return digest.hexdigest()
