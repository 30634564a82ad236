"""The data of a run, read once, and the loss that goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...data.dataset import Dataset
from ...errors import UsageError, nearest


def loss_for(model: Any, loss: Any, train: Any) -> Any:
    """Return the loss of a run: the one that was given, the compiled one, or what labels and outputs suggest.

    Whole numbers without an axis of their own are class numbers (for a single output, 0 and 1); rows that sum to 1 are
    classes too; anything else is regression, by the mean squared error. Whether the outputs are probabilities or logits
    is seen on some samples. A model with several outputs gets a loss for each.

    Raises:
        UsageError: Nothing suggests itself, as the data stream; or there is no loss of that name.
    """
    from ...models.detect import Flavour
    from ...models.load import flavour_of, import_keras

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
    from ...models.keras_spec import tree_of
    from ...models.load import describe

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
