"""BatchNormalization after a short training: its moving statistics are measured anew, with the weights as they are now.

A moving average of momentum 0.99 still holds a third of its old value after a hundred steps. A fine-tuning of that
length leaves weights that the model's own statistics do not belong to: what it scores in training and what it scores at
inference are far apart. Averaging over batches with the weights at rest is the cure (Wu and Johnson 2021: *Rethinking
"Batch" in BatchNorm*, section 3, "precise BatchNorm").
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .context import PassContext
from .determinism import reproducible
from .feed import open_feed
from .options import Training

# What may be left of the old statistics; with a momentum of 0.99, 459 steps leave as much.
_LEFT = 0.01
# Batches of 32 make 3,200 samples: a channel's mean is known to 2 % of its deviation from one value of each.
_BATCHES = 100


def renew_statistics(model: Any, context: PassContext, training: Training, steps: int) -> int:
    """Measure the moving statistics of `model` on training data, where `steps` were too few for them to follow.

    Args:
        model: A trained Keras model of either flavour.
        context: Its training data and seed are used.
        training: How it was trained.
        steps: Optimiser steps that its weights come from.

    Returns:
        The number of BatchNormalization layers whose statistics were measured; 0 where they have followed, and where
        an early stop chose them by the score on validation data.
    """
    stop = training.early_stop
    if stop is not None and stop.metric.startswith("val_"):
        return 0
    lagging = [layer for layer in _moving(model) if steps and float(layer.momentum) ** steps > _LEFT]
    if not lagging:
        return 0
    import tensorflow as tf

    feed = open_feed(
        context.train, model, batch_size=training.batch_size, steps=training.steps_per_epoch, seed=context.seed
    )
    context.progress(f"measuring the statistics of {len(lagging)} BatchNormalization layers anew")
    with reproducible(model, context.seed) as reseed, _averaging(lagging) as average:
        reseed(training.epochs)
        whole, number = 0, 0
        for x, *_ in feed.make(0, 1).take(_BATCHES):
            rows = len(tf.nest.flatten(x)[0])
            if rows < whole:
                continue  # a last batch of a few samples would count as much as the others
            average(number)
            model(x, training=True)
            whole, number = rows, number + 1
    return len(lagging)


def _moving(model: Any) -> Iterator[Any]:
    """Yield the normalisations whose statistics move in training."""
    for layer in model._flatten_layers(include_self=False, recursive=True):
        known = type(layer).__name__ in ("BatchNormalization", "SyncBatchNormalization")
        if known and layer.trainable and not getattr(layer, "renorm", False):
            yield layer


@contextmanager
def _averaging(layers: list[Any]) -> Iterator[Any]:
    """Let moving averages be plain averages of all batches inside the block."""
    before = [layer.momentum for layer in layers]

    def average(number: int) -> None:
        for layer in layers:
            layer.momentum = number / (number + 1.0)

    try:
        yield average
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
