"""The models of `quantization.py`, each with samples that calibrate it and others that test it.

Published or hard ones come from the test data's folder; five are trained here, in minutes, with fixed seeds. A case's
folder holds the model, ``calibration.npz`` (``x``) and ``test.npz`` (``x``, ``y``); no sample is in both.
"""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cifar10 import load_cifar10
from compression_tasks import SHARED, watch

CALIBRATION = 200
CIFAR_TEST = 3000
# The head of CIFAR-10's train set calibrates; training begins behind it.
CIFAR_HEAD = 1000
BATCH = 128
Samples = tuple[Any, Any, Any]


@dataclass(frozen=True)
class Case:
    """A model with its samples.

    Attributes:
        title: What it is.
        keras: "tf_keras" or "keras" (Keras 3): whose file it is.
        model: Writes the model into a folder; returns its name there.
        samples: Returns samples that calibrate, samples that test, and the test's labels.
        scored: Returns what the metric and the SNR are taken of, from samples and outputs.
        metric: Name of the metric.
    """

    title: str
    keras: str
    model: Callable[[Path], str]
    samples: Callable[[], Samples]
    scored: Callable[[Any, Any], Any] = lambda _samples, outputs: outputs
    metric: str = "accuracy"


def prepare(name: str, work: Path, cases: Mapping[str, Case] | None = None) -> Path:
    """Return the folder of a case, with its model, made the first time; `name` is one of `cases`, or of `CASES`."""
    folder = work / "models" / name
    case = (cases or CASES)[name]
    if not (folder / "model.txt").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        calibration, test, labels = case.samples()
        np.savez(folder / "calibration.npz", x=calibration)
        np.savez(folder / "test.npz", x=test, y=labels)
        # Written last: what it names is whole.
        (folder / "model.txt").write_text(case.model(folder))
    return folder


def model_path(folder: Path) -> Path:
    """Return the path of the model in a case's folder."""
    return folder / (folder / "model.txt").read_text()


def _copied(source: str) -> Callable[[Path], str]:
    def copy(folder: Path) -> str:
        path = SHARED / source
        if path.is_dir():
            shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, folder / path.name)
        return path.name

    return copy


def normalised(pixels: Any) -> Any:
    """Return what MobileNetV2 takes, of pixels 0 to 255 in RGB."""
    return (pixels / np.float32(255) - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])


def pictures() -> tuple[Callable[[int], Any], Any]:
    """Return a function from the number of one of 1000 photos, one a class, to its picture; and the classes."""
    from PIL import Image

    with np.load(SHARED / "imagenet" / "photos_224.npz") as packed:
        data, ends, labels = packed["jpeg"].tobytes(), packed["offset"], packed["y"].astype(np.int64)
    return lambda number: Image.open(io.BytesIO(data[ends[number] : ends[number + 1]])).convert("RGB"), labels


def photos() -> Samples:
    """The photos (224, 224, 3), normalised as the model was trained: 200 calibrate."""
    picture, labels = pictures()
    order = np.random.default_rng(0).permutation(len(labels))
    x = normalised(np.stack([np.asarray(picture(number)) for number in order]))
    return x[:CALIBRATION], x[CALIBRATION:], labels[order[CALIBRATION:]]


def cifar() -> Samples:
    """Photos of CIFAR-10, pixels 0 to 255: the train set's first calibrate, the test set's first test."""
    folder = SHARED / "cifar10"
    calibration, _ = load_cifar10(folder / "train_jpeg.npz", CALIBRATION)
    return calibration, *load_cifar10(folder / "test_jpeg.npz", CIFAR_TEST)


def keywords() -> Samples:
    """1000 recordings' MFCC (49, 10, 1): 200 calibrate."""
    with np.load(SHARED / "kws" / "test.npz") as packed:
        x, y = packed["x"], packed["y"]
    order = np.random.default_rng(0).permutation(len(x))
    return x[order[:CALIBRATION]], x[order[CALIBRATION:]], y[order[CALIBRATION:]]


def digits() -> Samples:
    """Pictures (64, 64, 1) of a digit somewhere, 0 to 1; labels are the digit's class."""
    with np.load(SHARED / "hard" / "det.npz") as packed:
        calibration, x, y = packed["calibration"], packed["x"], packed["y"]
    return calibration / np.float32(255), x / np.float32(255), y[:, 4:].argmax(axis=1)


def measurements() -> Samples:
    """Rows of 30 raw features of very different ranges."""
    with np.load(SHARED / "hard" / "tab.npz") as packed:
        return packed["calibration"], packed["x"], packed["y"]


def scores_of_digits(_samples: Any, outputs: Any) -> Any:
    """Return the detector's scores: the first four outputs are a box."""
    return outputs[:, 4:]


ANOMALY = 0  # an exercise of `watch`, which the autoencoder never saw


def movements() -> Samples:
    """Windows of a smartwatch, 128 times 6 standardised values in a row; other subjects test, and one new exercise."""
    usual, (x, y) = _movements()
    return usual[:CALIBRATION], x, (y == ANOMALY).astype(np.int64)


def _movements() -> tuple[Any, tuple[Any, Any]]:
    """Return windows of the known exercises in any order, and what tests."""
    (x, y), (x_test, y_test) = watch()
    mean, deviation = x.mean(axis=(0, 1)), x.std(axis=(0, 1))
    rows = [((windows - mean) / deviation).reshape(len(windows), -1).astype(np.float32) for windows in (x, x_test)]
    return np.random.default_rng(0).permutation(rows[0][y != ANOMALY]), (rows[1], y_test)


def autoencoder(folder: Path) -> str:
    """The layers of MLPerf Tiny's anomaly detection, trained on all exercises but one."""
    import tf_keras as keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((768,), name="window")
    x = inputs
    for width in (128,) * 4 + (8,) + (128,) * 4:
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Dense(width)(x)))
    model = keras.Model(inputs, keras.layers.Dense(768, name="again")(x), name="autoencoder")
    usual = _movements()[0][CALIBRATION:]
    model.compile("adam", "mse")
    model.fit(usual, usual, batch_size=BATCH, epochs=10, verbose=2)
    model.save(folder / "autoencoder.h5", include_optimizer=False)
    return "autoencoder.h5"


def anomaly_scores(samples: Any, outputs: Any) -> Any:
    """Return how far each sample is from what the autoencoder makes of it: the mean squared difference."""
    return np.square(outputs - samples).mean(axis=1)


def sequences(count: int, seed: int) -> tuple[Any, Any]:
    """Return 16 tokens of 12 a sample, int32, and at each place the sum of the two last tokens, modulo 12."""
    tokens = np.random.default_rng(seed).integers(0, 12, (count, 16))
    before = np.pad(tokens, ((0, 0), (1, 0)))[:, :-1]
    return tokens.astype(np.int32), (tokens + before) % 12


def tokens() -> Samples:
    """Random sequences of `sequences`, of other seeds than the training's."""
    return sequences(CALIBRATION, 1)[0], *sequences(1000, 2)


def causal(folder: Path) -> str:
    """A transformer of two blocks with masked attention: Keras 3's MultiHeadAttention, ``use_causal_mask=True``."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16,), dtype="int32", name="tokens")
    x = _placed(layers.Embedding(12, 48)(inputs))
    for _ in range(2):
        inside = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 12)(inside, inside, use_causal_mask=True)])
        x = layers.Add()([x, layers.Dense(48)(layers.Dense(96, activation="relu")(layers.LayerNormalization()(x)))])
    model = keras.Model(inputs, layers.Dense(12, activation="softmax", name="next")(x), name="causal")
    return _trained(model, sequences(20000, 3), folder / "causal.keras", epochs=12, rate=3e-3)


def vit(folder: Path) -> str:
    """A small vision transformer: patches of 4x4, four blocks of 64, Keras 3."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(64, 4, strides=4)(layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    x = _placed(layers.Reshape((64, 64))(x))
    for _ in range(4):
        inside = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 16)(inside, inside)])
        x = layers.Add()([x, layers.Dense(64)(layers.Dense(128, activation="gelu")(layers.LayerNormalization()(x)))])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="scores")(x), name="vit")
    return _trained(model, _photos_to_train(20000), folder / "vit.keras", epochs=10, rate=1e-3)


def _placed(x: Any) -> Any:
    """Return tokens (n, tokens, width) through a Dense with a bias for each place, which tells the places apart."""
    import keras

    return keras.layers.EinsumDense(
        "btc,cd->btd", output_shape=x.shape[1:], bias_axes="td", bias_initializer="random_normal"
    )(x)


def efficientnet(folder: Path) -> str:
    """An EfficientNet of six blocks: swish, depthwise convolutions, squeeze-excite; tf_keras."""
    import tf_keras as keras

    layers = keras.layers
    keras.utils.set_random_seed(0)

    def swish(x: Any) -> Any:
        return layers.Activation("swish")(layers.BatchNormalization()(x))

    def block(x: Any, width: int, strides: int) -> Any:
        inner = 4 * x.shape[-1]
        y = swish(layers.Conv2D(inner, 1, use_bias=False)(x))
        y = swish(layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(y))
        gate = layers.Dense(inner // 16, activation="swish")(layers.GlobalAveragePooling2D(keepdims=True)(y))
        y = layers.Multiply()([y, layers.Dense(inner, activation="sigmoid")(gate)])
        y = layers.BatchNormalization()(layers.Conv2D(width, 1, use_bias=False)(y))
        return layers.Add()([x, y]) if strides == 1 and width == x.shape[-1] else y

    inputs = keras.Input((32, 32, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = swish(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x))
    for width, strides in ((16, 1), (24, 1), (24, 1), (40, 2), (40, 1), (64, 2)):
        x = block(x, width, strides)
    x = layers.GlobalAveragePooling2D()(swish(layers.Conv2D(128, 1, use_bias=False)(x)))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="scores")(x), name="efficientnet_like")
    return _trained(model, _photos_to_train(20000), folder / "efficientnet.h5", epochs=8, rate=3e-3)


def _photos_to_train(count: int) -> tuple[Any, Any]:
    x, y = load_cifar10(SHARED / "cifar10" / "train_jpeg.npz", CIFAR_HEAD + count)
    return x[CIFAR_HEAD:], y[CIFAR_HEAD:]


def _trained(model: Any, data: tuple[Any, Any], path: Path, epochs: int, rate: float) -> str:
    """Train with Adam, its rate falling to 0 (cosine), save, and return the file's name."""
    import keras
    import tf_keras

    flavour = keras if isinstance(model, keras.Model) else tf_keras
    x, y = data
    falling = flavour.optimizers.schedules.CosineDecay(rate, epochs * math.ceil(len(x) / BATCH))
    model.compile(flavour.optimizers.Adam(falling), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=2)
    model.save(path, include_optimizer=False)
    return path.name


CASES = {
    "mobilenet_v2": Case("MobileNetV2, ImageNet", "tf_keras", _copied("imagenet/mobilenet_v2.h5"), photos),
    "resnet8": Case("ResNet-8, CIFAR-10", "tf_keras", _copied("cifar10/mlperf_resnet8.h5"), cifar),
    "kws": Case("DS-CNN, keywords", "tf_keras", _copied("kws/ref_saved_model"), keywords),
    "mobilenet_v3_like": Case("MobileNetV3-like, CIFAR-10", "tf_keras", _copied("hard/mnv3c.h5"), cifar),
    "efficientnet_like": Case("EfficientNet-like, CIFAR-10", "tf_keras", efficientnet, cifar),
    "vit": Case("small ViT, CIFAR-10", "keras", vit, cifar),
    "causal": Case("causal transformer, toy sequences", "keras", causal, tokens),
    "detector": Case("detector, scores beside boxes", "tf_keras", _copied("hard/det.h5"), digits, scores_of_digits),
    "anomaly": Case("autoencoder, anomalies by AUC", "tf_keras", autoencoder, movements, anomaly_scores, "auc"),
    "tabular": Case("30 raw features, normalised inside", "tf_keras", _copied("hard/tab.h5"), measurements),
}
