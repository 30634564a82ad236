"""Operators without an integer form become others that compute the same, so that the file is int8."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.repairs.change import computes_the_same
from edgeopt.converters.repairs.spelling import multiplied_squares, selected_casts
from edgeopt.errors import NotFullyIntegerError
from edgeopt.flatbuffer import read_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6, 8)).astype(np.float32)
TOKENS = np.concatenate([RNG.integers(1, 9, size=(60, 4)), np.zeros((60, 2), int)], axis=1).astype(np.int32)


def padded(keras, kind):
    """Attention behind the mask of an Embedding, which tf_keras casts to floats."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    tokens = keras.Input((6,), name="tokens", dtype="int32")
    x = layers.Embedding(9, 8, mask_zero=True)(tokens)
    if kind == "MultiHeadAttention":
        return keras.Model(tokens, layers.MultiHeadAttention(2, 8)(x, x))
    return keras.Model(tokens, layers.Attention()([x, x]))


def squared(keras):
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    square = tf.square if keras.__name__ == "tf_keras" else keras.ops.square
    x = keras.Input((6, 8), name="x")
    return keras.Model(x, keras.layers.Dense(3)(square(keras.layers.Dense(4)(x))))


def floats(model):
    return edgeopt.convert(model, quantize="float32", isolate=False).model


def operators(content):
    return {operator.name for operator in read_model(content).main.operators}


@pytest.mark.parametrize("kind", ["MultiHeadAttention", "Attention"])
def test_attention_behind_a_mask_of_the_tokens_is_int8_and_the_models(any_keras, kind):
    artifact = edgeopt.convert(padded(any_keras, kind), calibration=TOKENS, isolate=False)
    assert artifact.sidecar["fully_int8"] and artifact.fidelity.snr_db > 25
    assert "mask" in [repair["kind"] for repair in artifact.sidecar["repairs"]]


def test_truth_values_are_selected_not_cast():
    import tf_keras

    model = padded(tf_keras, "Attention")
    content = floats(model)
    change = selected_casts(content, {"tokens": TOKENS})
    assert "CAST" in operators(content) and "CAST" not in operators(change.content)
    assert computes_the_same(content, change.content, {"tokens": TOKENS})
    with pytest.raises(NotFullyIntegerError, match="CAST of layer 'attention"):
        edgeopt.convert(model, calibration=TOKENS, isolate=False, repair=False)


def test_squares_are_multiplications(any_keras):
    model = squared(any_keras)
    content = floats(model)
    change = multiplied_squares(content, {"x": X})
    assert "SQUARE" in operators(content) and "SQUARE" not in operators(change.content)
    assert computes_the_same(content, change.content, {"x": X})
    artifact = edgeopt.convert(model, calibration=X, isolate=False)
    assert artifact.sidecar["fully_int8"] and artifact.fidelity.snr_db > 25


def test_a_file_without_such_operators_is_left_alone():
    import keras

    x = keras.Input((6, 8), name="x")
    content = floats(keras.Model(x, keras.layers.Dense(3)(x)))
    assert selected_casts(content, {"x": X}) is None and multiplied_squares(content, {"x": X}) is None
