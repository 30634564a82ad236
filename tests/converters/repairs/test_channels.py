"""Channels in front of a depthwise convolution are scaled alike, and the float file stays the same to the bit."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.outputs import file_outputs
from edgeopt.converters.repairs.channels import even_channels, scaling
from edgeopt.evaluation.fidelity import snr_db
from edgeopt.flatbuffer import read_model

X = np.random.default_rng(0).normal(size=(150, 8, 8, 3)).astype(np.float32)


def model(keras, activation="relu", strides=1, multiplier=1):
    """A convolution whose channels reach up to 1 and 1000 times less, and a depthwise one that makes them alike again."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    first = layers.Conv2D(16, 1, activation=activation, bias_initializer="random_normal", name="wide")
    pads = [layers.ZeroPadding2D(((0, 1), (0, 1)))] if strides == 2 else []
    second = layers.DepthwiseConv2D(
        3, strides=strides, padding="valid" if pads else "same", depth_multiplier=multiplier, name="deep"
    )
    tail = [layers.GlobalAveragePooling2D(), layers.Dense(4, name="y")]
    made = keras.Sequential([keras.Input((8, 8, 3), name="x"), first, *pads, second, *tail])
    spans = np.geomspace(1, 1e-3, 16).astype(np.float32)
    kernel, bias = first.get_weights()
    first.set_weights([kernel * spans, bias * spans])
    kernel, *bias = second.get_weights()
    second.set_weights([kernel / spans[:, None], *bias])
    return made


def even(made):
    content = edgeopt.convert(made, quantize="float32", isolate=False).model
    return content, even_channels(content, {"x": X[:50]})


@pytest.mark.parametrize("options", [{}, {"strides": 2}, {"activation": "relu6"}, {"activation": None}])
def test_the_float_file_gives_the_same_and_its_channels_are_more_alike(any_keras, options):
    content, change = even(model(any_keras, **options))
    assert "in front of 1 depthwise" in change.detail
    [before], [after] = (file_outputs(c, {"x": X[:50]}).values() for c in (content, change.content))
    np.testing.assert_array_equal(before, after)  # powers of two
    assert even_channels(change.content, {"x": X[:50]}).content != content
    assert [o.name for o in read_model(content).main.operators] == [
        o.name for o in read_model(change.content).main.operators
    ]


@pytest.mark.parametrize("options", [{"activation": "tanh"}, {"multiplier": 2}])
def test_what_does_not_scale_is_left_alone(any_keras, options):
    assert even(model(any_keras, **options))[1] is None


def test_the_int8_file_is_nearer_to_the_model(any_keras):
    made = model(any_keras)
    given = {"calibration": X, "calibration_samples": 100, "ranges": "minmax", "isolate": False}
    plain, repaired = (edgeopt.convert(made, repair=repair, **given) for repair in (False, True))
    assert [repair["kind"] for repair in repaired.sidecar["repairs"]] == ["channels"]
    expected = file_outputs(edgeopt.convert(made, quantize="float32", isolate=False).model, {"x": X[100:]})["y"]
    before, after = (snr_db(expected, file_outputs(one.model, {"x": X[100:]})["y"]) for one in (plain, repaired))
    assert after > before + 6


def test_factors_are_powers_of_two_half_the_way_to_the_largest():
    largest = np.array([4.0, 1.0, 0.25, 0.0])
    np.testing.assert_array_equal(scaling(largest, capped=False), [1, 2, 4, 64])


def test_a_channel_that_reaches_the_cap_stays_and_none_is_brought_there():
    largest = np.array([6.0, 4.0, 0.09, 1e-6])
    factors = scaling(largest, capped=True)
    np.testing.assert_array_equal(factors, [1, 1, 8, 64])
    assert np.all((largest * factors < 6) | (factors == 1))
