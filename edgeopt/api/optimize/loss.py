"""The loss of a run: given, compiled, or what its data suggest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...data.dataset import Dataset
from ...errors import UsageError, nearest
from ...training.losses import are_probabilities, are_shares, compiled_loss


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
    if (compiled := compiled_loss(model)) is not None:
        return compiled
    if not isinstance(train, Dataset) or train.labels is None or not hasattr(model, "output_shape"):
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
        known = {item for item, value in vars(losses).items() if item.islower() and callable(value)}
        known = {*known, "mse", "mae", "mape", "msle", "kld"} - {"get", "serialize", "deserialize"}
        raise UsageError(f"Unknown loss {name!r}{nearest(name, known)}") from error


def _suited(labels: Any, outputs: Any, losses: Any) -> Any:
    """Return the loss that the labels of one output, and some of its values, suggest."""
    classes = outputs.shape[-1] if outputs.ndim > 1 else 1
    whole = labels.dtype.kind in "iub"
    if whole and labels.size == len(labels) and classes > 1:
        return losses.SparseCategoricalCrossentropy(from_logits=not are_probabilities(outputs))
    if whole and classes == 1 and labels.min() >= 0 and labels.max() <= 1:
        return losses.BinaryCrossentropy(from_logits=not are_shares(outputs))
    if labels.ndim == 2 and labels.shape[1] == classes and are_probabilities(labels):
        return losses.CategoricalCrossentropy(from_logits=not are_probabilities(outputs))
    return losses.MeanSquaredError()


def _few_outputs(model: Any, train: Dataset) -> dict[str, npt.NDArray[Any]]:
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
