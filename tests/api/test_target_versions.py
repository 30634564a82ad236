"""Which operator versions the TensorFlow at hand writes, beside what the frozen Edge TPU compiler reads."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.api.target import predict
from edgeopt.converters.edgetpu.rules import default_rules
from edgeopt.flatbuffer import read_model

pytestmark = [pytest.mark.heavy, pytest.mark.smoke]


def usual_network():
    """One of each layer that vision models for the Edge TPU are made of."""
    import keras

    layers = keras.layers
    image = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, activation="relu")(layers.ZeroPadding2D(1)(x))
    x = layers.MaxPooling2D()(layers.Add()([x, layers.Conv2D(8, 1)(x)]))
    bilinear = layers.UpSampling2D(2, interpolation="bilinear")(x)
    nearest = layers.Resizing(16, 16, interpolation="nearest")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(layers.Concatenate()([bilinear, nearest]))
    x = layers.Multiply()([x, layers.Conv2D(4, 1, activation="sigmoid")(x)])
    x = layers.Subtract()([x, layers.Conv2D(4, 1, activation="tanh")(x)])
    x = layers.AveragePooling2D(2)(layers.Maximum()([x, layers.Conv2D(4, 1)(x)]))
    dense = layers.Dense(4, activation="relu")(layers.Flatten()(x))
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), dense])
    return keras.Model(image, layers.Dense(3, activation="softmax")(x))


def converted(model):
    images = np.random.default_rng(0).uniform(0, 1, (8, *model.input_shape[1:])).astype("float32")
    return edgeopt.convert(model, calibration=images, per_tensor_dense=True).model


def test_no_usual_layer_is_written_in_a_version_that_the_compiler_cannot_read():
    model = read_model(converted(usual_network()))
    ceilings = default_rules().versions
    versions = {(operator.name, operator.version) for operator in model.main.operators}
    assert len(versions) > 12
    assert {(name, version) for name, version in versions if version > ceilings[name]} == set()


def test_nearest_upsampling_of_keras_3_is_named_with_what_to_use_instead():
    import keras

    layer = keras.layers.UpSampling2D(2, interpolation="nearest")
    prediction = predict("edgetpu", converted(keras.Sequential([keras.Input((8, 8, 3)), layer])))
    assert not prediction.mapped_ops
    found = prediction.operators[0]
    assert found.rule == "tile-version" and "TILE has version 3" in found.why
    assert "Resizing(height, width, interpolation='nearest')" in found.remedy


def test_the_replacement_gives_the_same_values():
    import keras

    images = np.random.default_rng(0).uniform(0, 1, (2, 5, 7, 3)).astype("float32")
    usual = keras.layers.UpSampling2D((2, 3), interpolation="nearest")(images)
    assert np.array_equal(usual, keras.layers.Resizing(10, 21, interpolation="nearest")(images))
