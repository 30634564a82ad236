"""`edgeopt.models.export.normalized`: with the mean taken away first a layer computes what Keras computes, in 8 bits too."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.models.export.normalized import centred
from edgeopt.models.load import describe

ROWS, STEPS, CHANNELS = 64, 6, 12
generator = np.random.default_rng(0)
# Each row has its own offset, five times its spread: what a normalisation is for.
OFFSETS = 5 * generator.normal(size=(ROWS, STEPS, 1))
X = (generator.normal(size=(ROWS, STEPS, CHANNELS)) + OFFSETS).astype(np.float32)

LAYERS = {
    "layer": lambda layers: layers.LayerNormalization(name="norm"),
    "layer over two axes": lambda layers: layers.LayerNormalization(axis=[1, 2], name="norm"),
    "layer over time": lambda layers: layers.LayerNormalization(axis=1, name="norm"),
    "layer without scale": lambda layers: layers.LayerNormalization(scale=False, epsilon=0.1, name="norm"),
    "layer without centre": lambda layers: layers.LayerNormalization(center=False, name="norm"),
    "group": lambda layers: layers.GroupNormalization(4, name="norm"),
    "group without weights": lambda layers: layers.GroupNormalization(3, scale=False, center=False, name="norm"),
}


def model_of(keras, name):
    model = keras.Sequential([keras.Input((STEPS, CHANNELS), name="x"), LAYERS[name](keras.layers)])
    weights = np.random.default_rng(1)  # ones and zeros, as they start, would hide a mistake
    model.set_weights([weights.normal(1, 0.3, size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("name", LAYERS)
def test_centred_equals_the_layer(any_keras, name):
    model = model_of(any_keras, name)
    expected = np.asarray(model(X, training=False))
    with centred(describe(model)):
        found = np.asarray(model(X, training=False))
    # A dozen roundings of 1.2e-7 each, on inputs of up to 20 spreads.
    np.testing.assert_allclose(found, expected, rtol=0, atol=12 * 1.2e-7 * 20 * np.abs(expected).max())
    assert not np.array_equal(found, expected), "it was computed in another order"
    np.testing.assert_array_equal(np.asarray(model(X, training=False)), expected)


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["layer", "group"])
def test_the_file_is_fully_int8_and_close_to_the_model(any_keras, running, name):
    model = model_of(any_keras, name)
    artifact = edgeopt.convert(model, calibration=X, calibration_samples=ROWS, isolate=False)
    assert artifact.fully_int8 and "NEG" not in artifact.sidecar["ops"]
    run = running(artifact.model)
    found = np.concatenate([run.real({"x": X[i : i + 1]})[0] for i in range(ROWS)])
    expected = np.asarray(model(X, training=False))
    # The input's step, 30 / 255 of a spread, alone makes 3 % (its root mean square is step / sqrt(12)); Keras' own order
    # of operations makes 20 %.
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.09 * expected.std()


def test_what_a_user_derived_from_a_layer_is_left_alone(any_keras):
    class Doubled(any_keras.layers.LayerNormalization):
        def call(self, inputs):
            return 2.0 * super().call(inputs)

    model = any_keras.Sequential([any_keras.Input((STEPS, CHANNELS), name="x"), Doubled(name="norm")])
    expected = np.asarray(model(X, training=False))
    with centred(describe(model)):
        np.testing.assert_array_equal(np.asarray(model(X, training=False)), expected)


def test_a_mask_still_counts():
    import tf_keras

    layer = tf_keras.layers.GroupNormalization(3, name="norm")
    x, mask = tf_keras.Input((STEPS, CHANNELS), name="x"), tf_keras.Input((STEPS, CHANNELS), name="mask")
    model = tf_keras.Model([x, mask], layer(x, mask=mask))
    values = [X, np.random.default_rng(2).integers(0, 2, size=X.shape).astype(np.float32)]
    expected = np.asarray(model(values, training=False))
    with centred(describe(model)):
        np.testing.assert_array_equal(np.asarray(model(values, training=False)), expected)
