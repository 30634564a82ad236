"""The loss of a training: where it comes from, what it is called, and whether labels and outputs go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError
from ..models.load import describe
from .context import PassContext

# Parts of the names of losses that are of classes.
CLASS_LOSSES = ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy", "focal")


def loss_of(model: Any, context: PassContext, name: str) -> Any:
    """Return the loss of the context, or the one that the model was compiled with.

    Raises:
        UsageError: There is none.
    """
    loss = context.loss if context.loss is not None else compiled_loss(model)
    if loss is None:
        raise UsageError(f"Pass {name!r} trains and got no loss; give loss=..., or a model that is compiled.")
    return loss


def compiled_loss(model: Any) -> Any:
    """Return the loss that a model was compiled with, or None."""
    return getattr(model, "loss", None)


def are_probabilities(outputs: npt.NDArray[Any]) -> bool:
    """Whether the rows along the last axis are those of a softmax: none negative, and of sum 1 within float16 rounding.

    Args:
        outputs: Values of one output, shape ``(samples, ..., classes)``; an output of one class is none.
    """
    several = outputs.ndim > 1 and outputs.shape[-1] > 1
    return bool(several and outputs.min() >= 0 and np.allclose(outputs.sum(-1), 1, atol=1e-2))


def are_shares(outputs: npt.NDArray[Any]) -> bool:
    """Whether all values lie in [0, 1], as those of a sigmoid do."""
    return bool(outputs.min() >= 0 and outputs.max() <= 1)


def losses_by_output(loss: Any, names: Sequence[str]) -> list[Any]:
    """Return the loss of each output: given by name or in order, or one for all."""
    if isinstance(loss, Mapping):
        return [loss.get(name) for name in names]
    return list(loss) if isinstance(loss, (list, tuple)) else [loss] * len(names)


def loss_name(loss: Any) -> str:
    """Return what a loss is called, in lower case with underscores, or "" for a structure of losses.

    Example:
        >>> loss_name(keras.losses.MeanSquaredError())
        'mean_squared_error'
    """
    if isinstance(loss, str):
        text = loss
    elif callable(loss):
        text = getattr(loss, "__name__", None) or type(loss).__name__
    else:
        return ""
    spaced = "".join(f"_{letter}" if letter.isupper() else letter for letter in text)
    return spaced.lower().strip("_").replace("__", "_").replace("cross_entropy", "crossentropy")


def loss_text(loss: Any) -> str:
    """Return a text that is the same for the same loss in another process: its name, and its options.

    Example:
        >>> loss_text({"kind": keras.losses.BinaryCrossentropy(from_logits=True), "size": "mse"})
        'kind: binary_crossentropy(axis=-1, from_logits=True, ...), size: mse'
    """
    if isinstance(loss, Mapping):
        return ", ".join(f"{key}: {loss_text(loss[key])}" for key in sorted(loss))
    if isinstance(loss, (list, tuple)):
        return ", ".join(map(loss_text, loss))
    if loss is None or isinstance(loss, str) or not hasattr(loss, "get_config"):
        return loss if isinstance(loss, str) else loss_name(loss)
    config = {key: value for key, value in loss.get_config().items() if isinstance(value, (str, int, float))}
    return f"{loss_name(loss)}({', '.join(f'{key}={config[key]}' for key in sorted(config) if key != 'name')})"


def translated(loss: Any, keras: Any) -> Any:
    """Return a loss of the other flavour as the one of the same class and options in `keras`; others as they are.

    Example:
        >>> translated(keras.losses.MeanSquaredError(), tf_keras)
        <tf_keras.src.losses.MeanSquaredError object at ...>
    """
    if isinstance(loss, dict):
        return {key: translated(item, keras) for key, item in loss.items()}
    if isinstance(loss, (list, tuple)):
        return [translated(item, keras) for item in loss]
    own = type(loss).__module__.split(".")[0]
    if own not in ("keras", "tf_keras") or own == keras.__name__.split(".")[0]:
        return loss
    found = getattr(keras.losses, type(loss).__name__, None)
    if found is None or not hasattr(loss, "get_config"):
        return loss
    config = {key: value for key, value in loss.get_config().items() if key not in ("reduction", "dtype", "fn")}
    try:
        return found(**config)
    except TypeError:
        return loss  # an option that only one of the two knows; the object computes with TensorFlow either way


def check_labels(labels: Any, model: Any, loss: Any, what: str) -> None:
    """Compare one batch of labels with the model's outputs, as far as the losses say what they should be.

    Raises:
        DataError: Their shape, type or range is not what the loss takes.
    """
    outputs = list(getattr(model, "outputs", None) or [])
    if isinstance(labels, np.ndarray):
        if len(outputs) == 1:
            _check_output(labels, tuple(outputs[0].shape), loss, what)
        return
    names = describe(model).spec.output_names
    if len(names) != len(outputs) or (not isinstance(labels, Mapping) and len(labels) != len(outputs)):
        return
    found = [labels.get(name) for name in names] if isinstance(labels, Mapping) else labels
    for name, array, output, own in zip(names, found, outputs, losses_by_output(loss, names), strict=True):
        if isinstance(array, np.ndarray):
            _check_output(array, tuple(output.shape), own, f"{what} (output {name!r})")


def _check_output(labels: npt.NDArray[Any], shape: tuple[Any, ...], loss: Any, what: str) -> None:
    if not loss_name(loss):
        return
    if not isinstance(loss, str) and type(loss).__module__.split(".")[0] not in ("keras", "tf_keras"):
        return  # the user's own: it may take what it likes
    if "sparse" in loss_name(loss):
        _check_classes(labels, shape, what)
        return
    received, expected = _without_ones(labels.shape[1:]), _without_ones(shape[1:])
    fits = len(received) == len(expected) and all(
        None in pair or pair[0] == pair[1] for pair in zip(received, expected, strict=True)
    )
    if not fits:
        raise DataError(
            f"The {what} labels have shape {labels.shape}, and the model's output (samples, "
            f"{', '.join('?' if size is None else str(size) for size in shape[1:])}); {loss_name(loss)} expects both "
            "to be the same."
        )


def _check_classes(labels: Any, shape: tuple[Any, ...], what: str) -> None:
    classes = shape[-1]
    values = labels[np.isfinite(labels)] if labels.dtype.kind == "f" else labels
    whole = labels.dtype.kind in "iub" or (values.size == labels.size and bool((values == np.round(values)).all()))
    if not whole:
        raise DataError(f"The {what} labels are not whole numbers; expected class numbers from 0.")
    if len(_without_ones(labels.shape[1:])) != len(_without_ones(shape[1:-1])):
        raise DataError(
            f"The {what} labels have shape {labels.shape}; expected one class number for each of the model's outputs "
            f"of shape {shape}, or use categorical_crossentropy."
        )
    if classes is not None and labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise DataError(
            f"The {what} labels hold classes {labels.min()} to {labels.max()}, and the model has {classes} outputs; "
            f"expected 0 to {classes - 1}."
        )


def _without_ones(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(shape[:-1]) if shape and shape[-1] == 1 else tuple(shape)


def with_loss_of(model: Any, context: PassContext, name: str) -> PassContext:
    """Return the context with a loss: its own, or the one that `model` was compiled with.

    Raises:
        UsageError: There is none.
    """
    return replace(context, loss=loss_of(model, context, name))
