"""A small network of all kinds of layers with weights, as float and as int8 file."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.recover.recovery import FloatFiles

RNG = np.random.default_rng(0)
SAMPLES = RNG.normal(size=(60, 13, 12, 3)).astype(np.float32)


class Pair(NamedTuple):
    """The two files, and samples by input name."""

    float_file: bytes
    file: bytes
    samples: dict[str, np.ndarray]

    @property
    def floats(self) -> FloatFiles:
        """As recovery takes them; nothing was repaired."""
        return FloatFiles(self.float_file, self.float_file)


def network():
    """Return a model with strides, dilation, both paddings, a depth multiplier, a branch and a shared layer."""
    import tf_keras

    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    inputs = tf_keras.Input((13, 12, 3), name="x")
    first = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="first")(inputs)
    wide = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu6", name="wide")(first)
    far = layers.Conv2D(8, (2, 3), dilation_rate=2, name="far")(wide)
    near = layers.Conv2D(8, 1, name="near")(wide[:, 2:, 2:-2])
    shared = layers.Dense(6, name="shared")
    both = layers.Add()([far[:, :1, :1], near[:, :1, :1]])
    flat = layers.Flatten()(both)
    scores = layers.Add()([shared(flat), shared(layers.Activation("relu")(flat))])
    return tf_keras.Model(inputs, layers.Dense(4, activation="softmax", name="scores")(scores))


@pytest.fixture(scope="session")
def pair() -> Pair:
    """The network's files, with ranges of minimum and maximum."""
    model = network()
    given = {"calibration": SAMPLES, "calibration_samples": 50, "ranges": "minmax", "repair": False, "isolate": False}
    files = [edgeopt.convert(model, quantize="float32", isolate=False), edgeopt.convert(model, **given)]
    return Pair(files[0].model, files[1].model, {"x": SAMPLES})
