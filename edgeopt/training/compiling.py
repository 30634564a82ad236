"""Optimiser, learning-rate schedule, loss and metrics, in the flavour of the model that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import RecipeError
from ..models.detect import Flavour
from ..models.load import flavour_of, import_keras
from .losses import CLASS_LOSSES, loss_name, translated
from .options import Training

_MOMENTUM = 0.9
_FINAL_SHARE = 0.01


def compile_model(model: Any, loss: Any, metrics: Sequence[str] | None, training: Training, steps: int | None) -> None:
    """Compile `model` for `steps` optimiser steps in all.

    Args:
        model: A Keras model of either flavour.
        loss: A loss of either flavour.
        metrics: Names of Keras metrics; None takes accuracy, where the loss is of classes.
        training: The optimiser and its learning rate.
        steps: Steps of the whole training; None where they are not known.

    Raises:
        RecipeError: A learning-rate schedule without a known number of steps.
    """
    flavour = flavour_of(model)
    keras = import_keras(flavour or Flavour.KERAS3)
    if metrics is None:
        metrics = ("accuracy",) if any(word in loss_name(loss) for word in CLASS_LOSSES) else ()
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
    schedule = training.learning_rate_schedule
    if schedule != "constant":
        if steps is None:
            raise RecipeError(
                f"learning_rate_schedule={schedule!r} needs to know the number of steps, and the data do not tell "
                "theirs; give steps_per_epoch."
            )
        schedules = keras.optimizers.schedules
        if schedule == "cosine":
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
