"""Quantisation-aware training by `edgeopt.passes.qat` beside TFMOT's `quantize_model`, on models that both accept.

    python benchmarks/qat_vs_tfmot.py [--epochs 1 3] [--seeds 0 1 2]

The same tf_keras model, trained on scikit-learn's digits (every fourth sample is held out), goes through both, with the
same data, optimiser and epochs. Both QAT models are converted by `edgeopt.convert`, without calibration; TFMOT's also
by the `TFLiteConverter` lines of its own guide. Every file is run on the held-out digits. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

import edgeopt
from edgeopt.api.demo_training import DemoData, digits
from edgeopt.devices import Device, RunOptions
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.integer import float_ops, fully_int8
from edgeopt.passes.finetune import FineTune
from edgeopt.passes.qat import Qat
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

LOSS = "sparse_categorical_crossentropy"
BATCH, RATE = 64, 1e-3
HEAD = (
    "| model | epochs | by | converted by | accuracy of the QAT model | of the file | same class | fully int8 "
    "| float operators |"
)


def plain(layers: Any, x: Any) -> Any:
    """Convolution, BatchNormalization, ReLU: what TFMOT was made for."""
    for width in (16, 32):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return layers.Dense(10, activation="softmax")(layers.Flatten()(layers.MaxPooling2D(2)(x)))


def mobile(layers: Any, x: Any) -> Any:
    """Depthwise convolutions with ReLU6, and a Dense layer with BatchNormalization behind it."""
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU(max_value=6.0)(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    y = layers.ReLU(max_value=6.0)(layers.BatchNormalization()(y))
    x = layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(y))])
    x = layers.Dense(32, use_bias=False)(layers.Flatten()(layers.AveragePooling2D(2)(x)))
    return layers.Dense(10, activation="softmax")(layers.ReLU()(layers.BatchNormalization()(x)))


@dataclass(frozen=True)
class Row:
    """One file."""

    by: str
    converter: str
    model_accuracy: float
    file_accuracy: float
    same_class: float
    fully_int8: bool
    float_operators: int


def trained(build: Callable[[Any, Any], Any], data: DemoData, seed: int) -> Any:
    """A float model, trained for ten epochs."""
    tf_keras.utils.set_random_seed(seed)
    given = tf_keras.Input(data.x_train.shape[1:], name="image")
    model = tf_keras.Model(given, build(tf_keras.layers, given))
    training = Training(epochs=10, batch_size=BATCH, learning_rate=2e-3, learning_rate_schedule="cosine")
    return FineTune(training=training).apply(model, PassContext(train=(data.x_train, data.y_train), loss=LOSS)).model


def by_tfmot(model: Any, data: DemoData, epochs: int) -> Any:
    """TFMOT's guide, line by line."""
    wrapped = tfmot.quantization.keras.quantize_model(model)
    wrapped.compile(tf_keras.optimizers.Adam(RATE), LOSS)
    wrapped.fit(data.x_train, data.y_train, batch_size=BATCH, epochs=epochs, verbose=0)
    return wrapped


def by_edgeopt(model: Any, data: DemoData, epochs: int) -> Any:
    """The pass with the same options."""
    training = Training(epochs=epochs, batch_size=BATCH, learning_rate=RATE)
    return Qat(training=training).apply(model, PassContext(train=(data.x_train, data.y_train), loss=LOSS)).exported


def guides_converter(model: Any) -> bytes:
    """The lines of TFMOT's guide that make the file."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def our_converter(model: Any) -> bytes:
    """`edgeopt.convert`, which would refuse a float operator by default."""
    return edgeopt.convert(model, allow_float_ops=True).model


def measured(device: Device, by: str, converter: str, model: Any, content: bytes, data: DemoData) -> Row:
    """Score the model and its file on the held-out samples."""
    file = read_model(content)
    inputs = {next(iter(file.signatures[0].inputs)): data.x_test}
    found = device.measure(content, inputs, RunOptions(bench=None)).evaluation
    assert found is not None  # noqa: S101 - samples were given
    got = found.outputs[0].stored.argmax(1)
    expected: npt.NDArray[Any] = model.predict(data.x_test, verbose=0).argmax(1)
    right = [float(np.mean(classes == data.y_test)) for classes in (expected, got)]
    return Row(by, converter, *right, float(np.mean(expected == got)), fully_int8(file), len(float_ops(file)))


def rows(build: Callable[[Any, Any], Any], data: DemoData, epochs: int, seed: int) -> Iterator[Row]:
    """One model through both."""
    model = trained(build, data, seed)
    with Device.local() as device:
        ours = by_edgeopt(model, data, epochs)
        yield measured(device, "edgeopt", "edgeopt", ours, our_converter(ours), data)
        theirs = by_tfmot(model, data, epochs)
        yield measured(device, "TFMOT", "edgeopt", theirs, our_converter(theirs), data)
        yield measured(device, "TFMOT", "its guide", theirs, guides_converter(theirs), data)


def line(name: str, epochs: int, found: list[Row]) -> str:
    """A row of the table: means over the seeds, and the range of the file's accuracy."""
    one = found[0]
    files = [row.file_accuracy for row in found]
    means = [float(np.mean([getattr(row, key) for row in found])) for key in ("model_accuracy", "same_class")]
    return (
        f"| {name} | {epochs} | {one.by} | {one.converter} | {means[0]:.4f} | {np.mean(files):.4f} "
        f"({min(files):.4f}-{max(files):.4f}) | {means[1]:.4f} | {'yes' if one.fully_int8 else 'no'} "
        f"| {one.float_operators} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    data = digits()
    print(f"{len(data.y_test)} held-out digits; means over the seeds {options.seeds}, smallest and largest\n")
    print(f"{HEAD}\n|---|--:|---|---|--:|--:|--:|---|--:|")
    for build in (plain, mobile):
        for epochs in options.epochs:
            each = [list(rows(build, data, epochs, seed)) for seed in options.seeds]
            for way in zip(*each, strict=True):
                print(line(build.__name__, epochs, list(way)), flush=True)


if __name__ == "__main__":
    main()
