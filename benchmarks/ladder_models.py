"""The models of `ladder.py`: those of `quantization_models.py`, the smartwatch's, and an over-provisioned CNN.

None of the samples that a rung trains on calibrates or tests; where a model's training data are not published with it,
there are none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cifar10 import load_cifar10
from compression_tasks import SHARED, TASKS, fashion, watch, watch_cnn, wide_cnn
from quantization_models import (
    CALIBRATION,
    CASES,
    CIFAR_HEAD,
    CIFAR_TEST,
    Case,
    Samples,
    model_path,
    scores_of_digits,
    sequences,
)

TRAIN = 4000
_BATCH, _RATE = 64, 1e-3
# Of the samples that the cells of `compression.py` train on: nearly all, or what a quarter of an hour allows.
TRAIN_FOR_TIME = {"resnet8": 49000, "wide": 24000}


def _watch_samples() -> Samples:
    (x, _), (x_test, y_test) = watch()
    return x[:CALIBRATION], x_test, y_test


def _fashion_samples() -> Samples:
    (x, _), (x_test, y_test) = fashion()
    return x[:CALIBRATION], x_test[:CIFAR_TEST], y_test[:CIFAR_TEST]


def _fitted(model: Any, data: tuple[Any, Any], path: Path, epochs: int, *, cosine: bool = False) -> str:
    """Train and save; with `cosine`, the rate falls as in the trainings of `compression.py`."""
    import tf_keras

    steps = epochs * -(-len(data[0]) // _BATCH)
    rate = tf_keras.optimizers.schedules.CosineDecay(_RATE, steps) if cosine else _RATE
    model.compile(tf_keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*data, batch_size=_BATCH, epochs=epochs, verbose=2)
    model.save(path, include_optimizer=False)
    return path.name


MODELS = {
    **{name: case for name, case in CASES.items() if case.metric == "accuracy"},
    "watch": Case(
        "1-D CNN, smartwatch", "tf_keras",
        lambda to: _fitted(watch_cnn(), watch()[0], to / "watch.h5", 16), _watch_samples,
    ),
    "wide": Case(
        "CNN of 128-128-256, Fashion-MNIST", "tf_keras",
        lambda to: _fitted(wide_cnn(), fashion()[0], to / "wide.h5", TASKS["wide"].base_epochs, cosine=True),
        _fashion_samples,
    ),
}  # fmt: skip


def training(name: str, count: int) -> tuple[Any, Any] | None:
    """Return samples that a model's rungs train on; None where there are none."""
    if name in ("resnet8", "mobilenet_v3_like", "efficientnet_like", "vit"):
        x, y = load_cifar10(SHARED / "cifar10" / "train_jpeg.npz", CIFAR_HEAD + count)
        return x[CIFAR_HEAD:], y[CIFAR_HEAD:]
    if name == "causal":
        return sequences(count, 3)
    if name in ("watch", "wide"):
        x, y = (watch if name == "watch" else fashion)()[0]
        return x[CALIBRATION : CALIBRATION + count], y[CALIBRATION : CALIBRATION + count]
    return None


def judging(name: str) -> tuple[Any, Any]:
    """Return the samples behind those that test ResNet-8 or the wide CNN."""
    data = load_cifar10(SHARED / "cifar10" / "test_jpeg.npz") if name == "resnet8" else fashion()[1]
    return data[0][CIFAR_TEST:], data[1][CIFAR_TEST:]


def digits(labels: Any, outputs: Any) -> float:
    """The share of pictures whose digit is found: of the detector's outputs, the first four are its box."""
    return float((scores_of_digits(labels, outputs).argmax(axis=1) == labels).mean())


def keras_file(folder: Path) -> Path:
    """Return the path of a case's model as a file with layers; a SavedModel that Keras wrote is saved as one."""
    model = model_path(folder)
    if not model.is_dir():
        return model
    import tf_keras

    made = folder / "layers.h5"
    tf_keras.models.load_model(model, compile=False).save(made, include_optimizer=False)
    return made


def saved(path: Path, data: tuple[Any, Any]) -> Path:
    """Write samples as .npz, and return the path."""
    np.savez(path, x=data[0], y=data[1])
    return path
