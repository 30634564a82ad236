"""Optimiser, learning-rate schedule, loss and metrics, in the flavour of the model that is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, RecipeError, UsageError
from ..models.detect import Flavour
from ..models.load import describe, flavour_of, import_keras
from .base import PassContext
from .training import Training

_MOMENTUM = 0.9
_FINAL_SHARE = 0.01
_CLASSES = ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy", "focal")


def compile_model(model: Any, context: PassContext, training: Training, steps: int | None, name: str) -> None:
    """Compile `model` for `steps` optimiser steps in all.

    Raises:
        UsageError: There is no loss, or a schedule without a known number of steps.
    """
    flavour = flavour_of(model)
    keras = import_keras(flavour or Flavour.KERAS3)
    loss = loss_of(model, context, name)
    metrics = context.metrics
    if metrics is None:
        metrics = ("accuracy",) if any(word in loss_name(loss) for word in _CLASSES) else ()
    extra = {"jit_compile": False} if flavour is Flavour.KERAS3 else {}
    several = len(getattr(model, "outputs", None) or [0]) > 1
    model.compile(
        optimizer=_scaled(_optimizer(keras, training, steps), model, keras),
        loss=translated(loss, keras),
        metrics=None if several else list(metrics),
        **extra,
    )


def build_state(model: Any, sample: Sequence[Any], extra: Sequence[Any] = ()) -> None:
    """Make the variables of the optimiser and the metrics of a compiled model, before its first step.

    Keras 3 makes them in the first step otherwise: TensorFlow then traces that step twice, and makes each variable in
    a graph of its own, which takes longer than the training of a large network's first epoch.

    Args:
        model: A compiled model; tf_keras makes its variables outside of the step by itself.
        sample: A batch of inputs and labels.
        extra: What the optimiser is to train besides the model's weights.
    """
    import tensorflow as tf

    if flavour_of(model) is not Flavour.KERAS3 or tf.distribute.has_strategy():
        return
    model.optimizer.build([*model.trainable_variables, *extra])
    inputs, labels = tf.nest.map_structure(tf.convert_to_tensor, tuple(sample[:2]))
    model.compute_metrics(inputs, labels, model(inputs, training=False))
    model.reset_metrics()


def loss_of(model: Any, context: PassContext, name: str) -> Any:
    """Return the loss of the context, or the one that the model was compiled with.

    Raises:
        UsageError: There is none.
    """
    loss = context.loss if context.loss is not None else getattr(model, "loss", None)
    if loss is None:
        raise UsageError(f"Pass {name!r} trains and got no loss; give loss=..., or a model that is compiled.")
    return loss


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


def _scaled(optimizer: Any, model: Any, keras: Any) -> Any:
    """Scale the loss where layers compute in float16, or small gradients would be 0 (Micikevicius et al. 2018).

    Keras does so by itself only where the model's own policy, which is the global one, says float16.
    """
    if not any(layer.compute_dtype == "float16" for layer in model._flatten_layers(include_self=False)):
        return optimizer
    home = keras.mixed_precision if flavour_of(model) is Flavour.TF_KERAS else keras.optimizers
    return home.LossScaleOptimizer(optimizer)


def _optimizer(keras: Any, training: Training, steps: int | None) -> Any:
    rate: Any = training.learning_rate
    if training.schedule != "constant":
        if steps is None:
            raise RecipeError(
                f"schedule={training.schedule!r} needs to know the number of steps, and the data do not tell theirs; "
                "give steps_per_epoch."
            )
        schedules = keras.optimizers.schedules
        if training.schedule == "cosine":
            rate = schedules.CosineDecay(rate, steps)
        else:
            rate = schedules.ExponentialDecay(rate, steps, _FINAL_SHARE)
    makers = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "rmsprop": keras.optimizers.RMSprop,
    }
    if training.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=_MOMENTUM)
    return makers[training.optimizer](rate)
