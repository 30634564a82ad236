"""A branch of a Concatenate inside a model that one scale leaves few bits is named, with how many it has."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.narrow import bits_left, narrow_branches
from edgeopt.converters.range_meter import RangeMeter

X = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)


def branches(keras, ratio):
    """Two branches, one `ratio` times as wide as the other, joined in front of a Dense layer."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8,), name="x")
    wide = keras.layers.Dense(8, activation="relu", name="wide")(x)
    narrow = keras.layers.Dense(8, activation="relu", name="narrow")(x)
    y = keras.layers.Dense(4)(keras.layers.Concatenate(name="join")([wide, narrow]))
    model = keras.Model(x, y)
    layer = model.get_layer("narrow")
    layer.set_weights([weight / ratio for weight in layer.get_weights()])
    return model


def test_a_narrow_branch_is_named_with_its_bits(any_keras):
    [warning] = edgeopt.convert(branches(any_keras, 100), calibration=X, fidelity=False, isolate=False).warnings
    assert warning.startswith("joined: the concatenation 'join' leaves its narrowest input, 'narrow', 1.")
    assert "of 8 bits" in warning and "BatchNormalization" in warning


def test_branches_of_one_width_are_not_warned_about(any_keras):
    assert edgeopt.convert(branches(any_keras, 1), calibration=X, isolate=False).warnings == ()


def test_a_concatenation_that_a_repair_put_in_is_not_the_users():
    import keras

    content, other = (
        edgeopt.convert(model, quantize="float32", isolate=False).model
        for model in (branches(keras, 100), keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)]))
    )
    meter = RangeMeter(content)
    meter.feed({"x": X[:1]})
    assert len(narrow_branches(meter.annotated(), content, ["join", "narrow"])) == 1
    assert narrow_branches(meter.annotated(), other, ["join", "narrow"]) == []


def test_the_bits_of_each_operand():
    assert bits_left([(0.0, 1.0)]) == [8]
    assert bits_left([(0.0, 1.0), (0.0, 255.0)]) == [1, 8]
    assert bits_left([(0.0, 1.0), (3.0, 3.0)]) == pytest.approx([np.log2(1 + 85), 0])  # all scales hold zero
    assert bits_left([(0.0, 0.0)]) == [8]
