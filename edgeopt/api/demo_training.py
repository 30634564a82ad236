"""What the demo trains: a small Keras 3 CNN on data that installed packages carry. Runs in a child process.

The files of float32, float16, dynamic and int8 come from one model; the passes behind it train on, and the table says
for how many epochs in all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..passes.finetune import FineTune
from ..passes.prune.prune import Prune
from ..passes.qat import Qat
from ..process.isolation import OnEvent
from ..training.context import PassContext
from ..training.options import Training
from .convert import convert
from .demo import DemoRequest

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


@dataclass(frozen=True)
class Plan:
    """A data set, and how many epochs each training on it takes."""

    load: Callable[[], DemoData]
    train: int
    prune: int
    qat: int


DATASETS = {"digits": Plan(digits, 20, 6, 3), "watch": Plan(watch, 7, 3, 1)}
MODES = ("float32", "float16", "dynamic", "int8")
_BATCH = 64
_SPARSITY = 0.5


def make_files(fields: Mapping[str, Any], emit: OnEvent) -> dict[str, object]:
    """Train as a `DemoRequest` says; save model, data and one artifact a variant to its folder (the child's side).

    Returns:
        ``train``, ``test`` (numbers of samples), ``parameters``, and ``epochs``: of training, by variant.

    Raises:
        UsageError: The package that carries the data is not installed.
    """
    request = DemoRequest.from_dict(fields)
    plan = DATASETS[request.dataset]
    try:
        data = plan.load()
    except ImportError as error:
        raise UsageError(
            f"The demo's data need the package {error.name!r}; install it with: pip install 'edgeopt[examples]'."
        ) from error
    bench = _Demo(plan, data, Path(request.folder), request.dataset, request.seed, emit)
    model = bench.trained()
    bench.prepare(model)
    for mode in MODES:
        bench.export(model, mode, quantize=mode)
    bench.export(bench.quantised(model), "int8_qat")
    bench.export(bench.quantised(bench.pruned(model)), "int8_prune50_qat")
    after = {"int8_qat": plan.qat, "int8_prune50_qat": plan.prune + plan.qat}
    epochs = {name: plan.train + after.get(name, 0) for name in (*MODES, *after)}
    counts = {"train": len(data.y_train), "test": len(data.y_test), "parameters": int(model.count_params())}
    return {**counts, "epochs": epochs}


@dataclass(frozen=True)
class _Demo:
    """The steps of one demo."""

    plan: Plan
    data: DemoData
    folder: Path
    name: str
    seed: int
    emit: OnEvent

    def say(self, text: str) -> None:
        self.emit({"step": text})

    @property
    def context(self) -> PassContext:
        train = (self.data.x_train, self.data.y_train)
        return PassContext(train=train, loss="sparse_categorical_crossentropy", seed=self.seed, progress=self.say)

    def trained(self) -> Any:
        """A model trained from new weights."""
        import keras

        keras.utils.set_random_seed(self.seed)
        training = Training(
            epochs=self.plan.train, batch_size=_BATCH, learning_rate=2e-3, learning_rate_schedule="cosine"
        )
        return FineTune(training=training).apply(_network(keras, self.data), self.context).model

    def pruned(self, model: Any) -> Any:
        """Half of its kernel weights zero."""
        training = Training(epochs=self.plan.prune, batch_size=_BATCH, learning_rate=1e-3)
        return Prune(sparsity=_SPARSITY, training=training).apply(model, self.context).model

    def quantised(self, model: Any) -> Any:
        """Trained quantised; zeros stay zero."""
        training = Training(
            epochs=self.plan.qat, batch_size=_BATCH, learning_rate=1e-3, learning_rate_schedule="cosine"
        )
        return Qat(training=training).apply(model, self.context).exported

    def prepare(self, model: Any) -> None:
        """Save the model and the data."""
        model.save(self.folder / "model.keras")
        np.savez(self.folder / "train.npz", x=self.data.x_train, y=self.data.y_train)
        np.savez(self.folder / "test.npz", x=self.data.x_test, y=self.data.y_test)

    def export(self, model: Any, variant: str, quantize: str = "int8") -> None:
        """Convert and save; a model that was trained quantised needs no calibration."""
        self.say(f"converting to {variant}")
        calibration = (self.data.x_train, self.data.y_train) if variant in MODES else None
        # This is a child process already; one more for each file would only load TensorFlow again.
        artifact = convert(model, calibration=calibration, quantize=quantize, isolate=False)
        artifact.save(self.folder / f"{self.name}_{variant}.tflite", force=True)


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
