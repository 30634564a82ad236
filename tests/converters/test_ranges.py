"""Ranges are TensorFlow's own, but where its kernels compute wrongly."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.errors import ConversionError

STEPS, FEATURES = 6, 3
SAMPLES = np.random.default_rng(0).normal(size=(20, STEPS, FEATURES)).astype(np.float32)


def convolutional_lstm():
    import tf_keras

    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    reshaped = [tf_keras.Input((STEPS, FEATURES), name="x"), layers.Reshape((STEPS, FEATURES, 1))]
    return tf_keras.Sequential([*reshaped, layers.ConvLSTM1D(2, 2), layers.Flatten(name="y")])


def dense():
    import keras

    return keras.Sequential([keras.Input((STEPS, FEATURES), name="x"), keras.layers.Dense(4, name="y")])


@pytest.mark.parametrize(("make", "engine"), [(dense, "fast"), (convolutional_lstm, "exact")])
def test_one_thread_measures_where_several_compute_wrongly(running, make, engine):
    model = make()
    artifact = edgeopt.convert(model, calibration=SAMPLES, calibration_samples=20, isolate=False)
    assert artifact.sidecar["converter"]["flags"]["calibrator"] == engine
    run = running(artifact.model)
    found = np.concatenate([run.real({"x": sample[None]})[0] for sample in SAMPLES])
    expected = np.asarray(model(SAMPLES))
    assert np.abs(found - expected).mean() < 0.02 * np.ptp(expected)  # a few of the 255 steps


@pytest.mark.parametrize("bad", [0, 7, 19])
def test_infinity_in_any_sample_is_an_error_that_names_the_tensor(bad):
    import keras

    inputs = keras.Input((STEPS, FEATURES), name="x")
    model = keras.Model(inputs, keras.layers.Dense(2, name="y")(keras.ops.exp(inputs)))
    samples = np.where(np.arange(20)[:, None, None] == bad, np.float32(1000), SAMPLES)
    with pytest.raises(ConversionError, match="NaN or infinity in '.*[Ee]xp"):
        edgeopt.convert(model, calibration=samples, calibration_samples=20, isolate=False)
