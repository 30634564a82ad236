"""`edgeopt.models.expectations`: what a model's first layer tells of the values it was made for."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.models.expectations import input_expectations
from edgeopt.models.load import describe


def expected_of(keras, *layers):
    model = keras.Sequential([keras.Input((3,), name="x"), *layers, keras.layers.Dense(1)])
    return input_expectations(describe(model))


@pytest.mark.parametrize(
    ("scale", "offset", "span"),
    [(1 / 255, 0.0, (0, 255)), (1 / 127.5, -1.0, (0, 255)), (2.0, -1.0, (0, 1)), (1.0, 0.0, (0, 1))],
)
def test_rescaling(any_keras, scale, offset, span):
    (item,) = expected_of(any_keras, any_keras.layers.Rescaling(scale, offset, name="first"))
    assert (item["input"], item["layer"]) == ("x", "first")
    assert (item["low"], item["high"]) == pytest.approx(span)


def test_normalization_spans_three_standard_deviations(any_keras):
    layer = any_keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 4.0, 4.0], axis=-1)
    (item,) = expected_of(any_keras, layer)
    assert (item["low"], item["high"]) == pytest.approx((1 - 6, 3 + 6))


def test_batch_normalization_tells_what_it_saw(any_keras):
    layer = any_keras.layers.BatchNormalization()
    model = any_keras.Sequential([any_keras.Input((3,), name="x"), layer])
    layer.moving_mean.assign([10.0, 10.0, 10.0])
    layer.moving_variance.assign([1.0, 1.0, 1.0])
    (item,) = input_expectations(describe(model))
    assert (item["low"], item["high"]) == pytest.approx((7, 13))


def test_a_layer_inside_a_nested_model_counts(any_keras):
    inner = any_keras.Sequential([any_keras.Input((3,)), any_keras.layers.Rescaling(1 / 255)])
    (item,) = expected_of(any_keras, inner)
    assert item["high"] == pytest.approx(255)


@pytest.mark.parametrize("kind", ["dense", "negative", "inverted", "constant"])
def test_what_cannot_be_known(any_keras, kind):
    layers = any_keras.layers
    layer = {
        "dense": lambda: layers.Dense(2),
        "negative": lambda: layers.Rescaling(-1.0),
        "inverted": lambda: layers.Normalization(mean=[1.0] * 3, variance=[1.0] * 3, invert=True),
        "constant": lambda: layers.Normalization(mean=[1.0] * 3, variance=[0.0] * 3),
    }[kind]()
    assert expected_of(any_keras, layer) == []


def test_several_inputs_are_left_alone(any_keras):
    a, b = any_keras.Input((3,)), any_keras.Input((3,))
    model = any_keras.Model([a, b], any_keras.layers.Add()([any_keras.layers.Rescaling(1 / 255)(a), b]))
    assert input_expectations(describe(model)) == []
    assert np.isfinite(model([np.ones((1, 3)), np.ones((1, 3))])).all()
