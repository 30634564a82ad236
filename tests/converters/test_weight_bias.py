"""What the rounding of weights adds to a layer's mean is taken off its bias, in every file made from one float file."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.outputs import file_outputs
from edgeopt.converters.recover.editing import put_weights
from edgeopt.converters.recover.layers import find_layers
from edgeopt.converters.rewrite import packed, unpacked
from edgeopt.converters.weight_bias import WeightBias
from edgeopt.flatbuffer import read_model

X = np.random.default_rng(0).uniform(0, 1, size=(150, 6, 6, 4)).astype(np.float32)  # of a mean that is not 0


@pytest.fixture(scope="module")
def files():
    """A float file, and the int8 file with all its weights rounded down, which shifts every mean."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    some = {"bias_initializer": "random_normal"}  # a bias of zeros is left out of a file, and cannot be corrected
    body = [
        layers.Conv2D(8, 3, activation="relu", **some),
        layers.DepthwiseConv2D(3, **some),
        layers.Flatten(),
        layers.Dense(5, **some),
    ]
    model = tf_keras.Sequential([tf_keras.Input((6, 6, 4), name="x"), *body])
    content = edgeopt.convert(model, quantize="float32", isolate=False).model
    file = edgeopt.convert(model, calibration=X[:100], ranges="minmax", repair=False, isolate=False).model
    tree = unpacked(file)
    for layer in find_layers(read_model(file), read_model(content)):
        put_weights(tree, layer, np.clip(np.floor(layer.real_weights / layer.steps), -127, 127).astype(np.int64))
    return content, packed(tree)


def shift(content, file):
    (expected,), (found,) = (file_outputs(one, {"x": X[100:]}).values() for one in (content, file))
    return np.abs((found - expected).mean(axis=0)).max() / expected.std()


def test_the_shift_is_gone_on_samples_that_were_not_seen(files):
    content, file = files
    corrected = WeightBias(content, {"x": X[:32]}, but_first=False).taken_off(file)
    assert shift(content, file) > 0.05
    assert shift(content, corrected) < shift(content, file) / 4
    assert [o.name for o in read_model(corrected).main.operators] == [o.name for o in read_model(file).main.operators]


def test_the_first_layer_can_be_left_out(files):
    content, file = files
    corrected = WeightBias(content, {"x": X[:32]}, but_first=True).taken_off(file)
    before, after = (find_layers(read_model(one), read_model(content)) for one in (file, corrected))
    same = [np.array_equal(a.stored_bias, b.stored_bias) for a, b in zip(before, after, strict=True)]
    assert same == [True, False, False]
