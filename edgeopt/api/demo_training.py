"""What the demo trains: a small Keras 3 CNN on data that installed packages carry. Runs in a child process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .convert import convert

Array = npt.NDArray[Any]
_WINDOW, _STEP = 128, 32
_HELD_OUT_SUBJECTS = (9, 10)


@dataclass(frozen=True)
class DemoData:
    """Training and test samples, float32 ``(samples, ...)``, and integer labels."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    classes: int


def digits() -> DemoData:
    """Return scikit-learn's 1797 handwritten 8x8 digits, pixels 0..16, every fourth held out for the test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.asarray(bunch.images, dtype=np.float32)[..., np.newaxis]
    labels = np.asarray(bunch.target, dtype=np.int64)
    test = np.random.default_rng(0).permutation(len(labels)) % 4 == 0
    return DemoData(images[~test], labels[~test], images[test], labels[test], 10)


def watch() -> DemoData:
    """Return windows of 128 samples x 6 channels of the smartwatch recordings; subjects 9 and 10 are the test."""
    from seglearn.datasets import load_watch

    bunch = load_watch()
    windows: dict[bool, list[Array]] = {True: [], False: []}
    labels: dict[bool, list[int]] = {True: [], False: []}
    for recording, label, subject in zip(bunch["X"], bunch["y"], bunch["subject"], strict=True):
        test = int(subject) in _HELD_OUT_SUBJECTS
        for start in range(0, len(recording) - _WINDOW + 1, _STEP):
            windows[test].append(np.asarray(recording[start : start + _WINDOW], dtype=np.float32))
            labels[test].append(int(label))
    x = {test: np.stack(rows) for test, rows in windows.items()}
    y = {test: np.asarray(rows, dtype=np.int64) for test, rows in labels.items()}
    return DemoData(x[False], y[False], x[True], y[True], len(bunch["y_labels"]))


# name -> (loader, epochs)
DATASETS: dict[str, tuple[Callable[[], DemoData], int]] = {"digits": (digits, 20), "watch": (watch, 8)}


def make_files(request: Mapping[str, Any], emit: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Train on ``request["dataset"]``; save model, data and one artifact per mode to ``request["folder"]``.

    Raises:
        UsageError: The package that carries the data is not installed.
    """
    load, epochs = DATASETS[request["dataset"]]
    try:
        data = load()
    except ImportError as error:
        raise UsageError(
            f"The demo's data need the package {error.name!r}; install it with: pip install 'edgeopt[examples]'."
        ) from error
    import keras

    keras.utils.set_random_seed(int(request["seed"]))
    model = _network(keras, data)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    report = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, _: emit({"step": f"training, epoch {epoch + 1} of {epochs}"})
    )
    model.fit(data.x_train, data.y_train, batch_size=64, epochs=epochs, verbose=0, callbacks=[report])
    folder = Path(request["folder"])
    model.save(folder / "model.keras")
    np.savez(folder / "train.npz", x=data.x_train, y=data.y_train)
    np.savez(folder / "test.npz", x=data.x_test, y=data.y_test)
    for mode in request["modes"]:
        emit({"step": f"converting to {mode}"})
        # This is a child process already; one more for each mode would only load TensorFlow again.
        artifact = convert(model, calibration=(data.x_train, data.y_train), quantize=mode, isolate=False)
        artifact.save(folder / f"{request['dataset']}_{mode}.tflite", force=True)
    return {"train": len(data.y_train), "test": len(data.y_test), "parameters": int(model.count_params())}


def _network(keras: Any, data: DemoData) -> Any:
    """A plain CNN: normalised input, three convolutions, global pooling; 1-D or 2-D as the data are."""
    layers = keras.layers
    one_dimensional = data.x_train.ndim == 3
    convolution = layers.Conv1D if one_dimensional else layers.Conv2D
    pooling = layers.MaxPooling1D if one_dimensional else layers.MaxPooling2D
    average = layers.GlobalAveragePooling1D if one_dimensional else layers.GlobalAveragePooling2D
    kernel = 5 if one_dimensional else 3
    normalise = layers.Normalization(axis=-1)
    normalise.adapt(data.x_train)
    inputs = keras.Input(data.x_train.shape[1:], name="x")
    x = normalise(inputs)
    for width, pooled in ((16, True), (32, True), (64, False)):
        x = convolution(width, kernel, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = pooling(2)(x) if pooled else x
    x = layers.Dropout(0.3)(average()(x))
    return keras.Model(inputs, layers.Dense(data.classes, activation="softmax", name="scores")(x), name="demo")
