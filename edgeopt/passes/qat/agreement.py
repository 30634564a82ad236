"""Does the file compute what the QAT model computes? The same samples through both, output by output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...flatbuffer import read_model
from ...flatbuffer.specs import output_specs
from ...training.context import PassContext
from ...training.feed import open_feed
from ...training.losses import are_probabilities, compiled_loss, loss_name, losses_by_output

Array = npt.NDArray[Any]
SAMPLES = 256
_LEVELS = 255.0
_CLASSES = ("categorical_crossentropy", "focal")  # the binary one is of autoencoders and of several labels too


@dataclass(frozen=True)
class Agreement:
    """One output of the file beside the same output of the QAT model.

    Attributes:
        output: Its name.
        samples: How many were compared.
        same_class: Share of the samples (of their places, where an output has more axes) to which both give the same
            class, the one with the largest value; None where the output is not of classes.
        mean_steps: Mean difference of two values, in steps of the file's output (LSB).
        max_steps: The largest.
    """

    output: str
    samples: int
    same_class: float | None
    mean_steps: float
    max_steps: float

    def __str__(self) -> str:
        same = "" if self.same_class is None else f", the same class in {self.same_class:.1%}"
        return f"{self.output}: {self.mean_steps:.2f} steps apart on average, {self.max_steps:.1f} at most{same}"


def measure_agreement(qat_model: Any, data: bytes, context: PassContext, batch_size: int) -> tuple[Agreement, ...]:
    """Run samples through the QAT model and, with `PassContext.predict`, through its file.

    The samples are some of the validation data, or of the training data where there are none.

    Args:
        qat_model: The tf_keras model.
        data: The .tflite file that was made of it.
        context: Where samples and `predict` come from.
        batch_size: Of the model's runs.
    """
    if context.predict is None:
        return ()
    source = context.train if context.validation is None else context.validation
    feed = open_feed(source, qat_model, batch_size=batch_size, seed=context.seed)
    names, model_rows, inputs, count = list(qat_model.input_names), [], [], 0
    for x, *_ in feed.make(0, 1):
        model_rows.append(_arrays(qat_model(x, training=False)))
        inputs.append(_by_name(x, names))
        count += len(model_rows[-1][0])
        if count >= SAMPLES:
            break
    expected = [np.concatenate(rows) for rows in zip(*model_rows, strict=True)]
    got = context.predict(data, {name: np.concatenate([part[name] for part in inputs]) for name in names})
    specs = output_specs(read_model(data))
    outputs = list(qat_model.output_names)
    loss = compiled_loss(qat_model) if context.loss is None else context.loss
    return tuple(
        compare(name, ours, file, spec.scale, classes=_of_classes(own, ours))
        for name, ours, file, spec, own in zip(
            outputs, expected, got, specs, losses_by_output(loss, outputs), strict=True
        )
    )


def compare(output: str, expected: Array, got: Array, scale: float | None, *, classes: bool) -> Agreement:
    """Compare the values of one output.

    Args:
        output: Its name.
        expected: Of the model, shape ``(samples, ...)``.
        got: Of the file, real values.
        scale: Of the file's output; for a float one, 1/255 of the model's range stands in.
        classes: Whether the values along the last axis are scores of classes.
    """
    expected, got = (np.asarray(array, np.float64).reshape(expected.shape) for array in (expected, got))
    step = scale or float(np.ptp(expected)) / _LEVELS or 1.0
    apart = np.abs(expected - got) / step
    several = expected.ndim > 1 and expected.shape[-1] > 1
    same = float(np.mean(expected.argmax(-1) == got.argmax(-1))) if classes and several else None
    return Agreement(output, len(expected), same, float(apart.mean()), float(apart.max()))


def _of_classes(loss: Any, values: Array) -> bool:
    """Whether an output is of classes, of which one is right: by its loss, or as its rows sum to 1."""
    return any(word in loss_name(loss) for word in _CLASSES) or are_probabilities(values)


def _arrays(outputs: Any) -> list[Array]:
    """Return the outputs in the model's order; a dict's is that of its sorted keys."""
    import tensorflow as tf

    return [np.asarray(item) for item in tf.nest.flatten(outputs)]


def _by_name(x: Any, names: Sequence[str]) -> dict[str, Array]:
    if isinstance(x, dict):
        return {name: np.asarray(x[name]) for name in names}
    found = x if isinstance(x, (list, tuple)) else [x]
    return {name: np.asarray(item) for name, item in zip(names, found, strict=True)}
