"""The data sets and networks of `compression.py`: CIFAR-10, Fashion-MNIST, smartwatch recordings.

Networks are tf_keras, the flavour of the published ResNet-8. The `narrow_*` functions build a student for the pass
`distil`: the architecture of the model that is given, with each layer's channels scaled alike, and random weights.
"""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cifar10 import load_cifar10

SHARED = Path(os.environ.get("EDGEOPT_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
FASHION = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))


@dataclass(frozen=True)
class Task:
    """Data and a network.

    Attributes:
        data: Returns training and test data, each ``(x, y)`` with x float32 and y integers.
        network: Returns the path of the model to begin with, or the model.
        base_epochs: Epochs that make the float model of all rows.
    """

    data: Callable[[], tuple[tuple[Any, Any], tuple[Any, Any]]]
    network: Callable[[], Any]
    base_epochs: int


def cifar10_photos() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """50,000 and 10,000 photos (32, 32, 3), pixels 0 to 255."""
    folder = SHARED / "cifar10"
    return load_cifar10(folder / "train_jpeg.npz"), load_cifar10(folder / "test_jpeg.npz")


def fashion() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """60,000 and 10,000 images (28, 28, 1) of clothes, pixels 0 to 255, from Debian's dataset-fashion-mnist."""
    if not FASHION.is_dir():
        sys.exit(f"{FASHION} is absent; install Debian's dataset-fashion-mnist, or set FASHION_MNIST to its folder")

    def read(name: str) -> tuple[Any, Any]:
        with gzip.open(FASHION / f"{name}-images-idx3-ubyte.gz") as stream:
            images = np.frombuffer(stream.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1)
        with gzip.open(FASHION / f"{name}-labels-idx1-ubyte.gz") as stream:
            labels = np.frombuffer(stream.read(), np.uint8, offset=8)
        return images.astype(np.float32), labels.astype(np.int64)

    return read("train"), read("t10k")


def watch() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Windows (128, 6) of smartwatch recordings, subjects 9 and 10 held out."""
    from edgeopt.api.demo_training import watch as load

    data = load()
    return (data.x_train, data.y_train), (data.x_test, data.y_test)


def resnet8() -> Path:
    """MLPerf Tiny's trained ResNet-8."""
    return SHARED / "cifar10" / "mlperf_resnet8.h5"


def fashion_cnn() -> Any:
    """Three convolutions of 32, 64 and 64 channels."""
    return plain_cnn((28, 28, 1), (32, 64, 64), 10)


def wide_cnn() -> Any:
    """Many more channels than Fashion-MNIST needs: 128, 128 and 256."""
    return plain_cnn((28, 28, 1), (128, 128, 256), 10)


def plain_cnn(shape: tuple[int, ...], widths: tuple[int, ...], classes: int) -> Any:
    """3x3 convolutions with BatchNormalization and ReLU, halved by pooling between them; untrained."""
    import tf_keras as keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape, name="image")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    for number, width in enumerate(widths):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.MaxPooling2D()(x) if number < len(widths) - 1 else keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax", name="scores")(x), name="cnn")


def watch_cnn() -> Any:
    """Three 1-D convolutions on standardised signals; untrained."""
    import tf_keras as keras

    keras.utils.set_random_seed(0)
    normalise = keras.layers.Normalization(axis=-1)
    normalise.adapt(watch()[0][0])
    inputs = keras.Input((128, 6), name="signal")
    x = normalise(inputs)
    for number, width in enumerate((32, 64, 64)):
        x = keras.layers.Conv1D(width, 5, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.MaxPooling1D()(x) if number < 2 else keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(7, activation="softmax", name="scores")(x), name="watch")


TASKS = {
    "cifar10": Task(cifar10_photos, resnet8, 4),
    "fashion": Task(fashion, fashion_cnn, 4),
    "watch": Task(watch, watch_cnn, 16),
    "wide": Task(fashion, wide_cnn, 3),
}


def narrow_75(model: Any) -> Any:
    """About 75 % of the MACs: every layer with 0.87 of its channels."""
    return _narrowed(model, 0.75**0.5)


def narrow_50(model: Any) -> Any:
    """About half of the MACs: every layer with 0.71 of its channels."""
    return _narrowed(model, 0.5**0.5)


def narrow_25(model: Any) -> Any:
    """About a quarter of the MACs: every layer with half of its channels."""
    return _narrowed(model, 0.5)


def _narrowed(model: Any, share: float) -> Any:
    config = model.get_config()
    outputs = set(model.output_names)
    for layer in config["layers"]:
        for key in ("filters", "units"):
            if key in layer["config"] and layer["config"]["name"] not in outputs:
                layer["config"][key] = max(1, round(layer["config"][key] * share))
    return type(model).from_config(config)
