"""ELU, SELU, softplus and mish in 8 bits: their exponential ends at 1."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.repairs.change import computes_the_same
from edgeopt.converters.repairs.exponentials import bounded_elu, bounded_powers, bounded_softplus
from edgeopt.errors import ModelError
from edgeopt.flatbuffer import read_model

X = (2 * np.random.default_rng(0).normal(size=(100, 6, 8))).astype(np.float32)
REPAIRS = {
    "elu": bounded_elu,
    "selu": bounded_powers,
    "softplus": bounded_softplus,
    "mish": bounded_softplus,
}


def activated(keras, name):
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 8), name="x")
    return keras.Model(x, keras.layers.Dense(4)(keras.layers.Activation(name)(keras.layers.Dense(8)(x))))


def operators(content):
    return Counter(operator.name for operator in read_model(content).main.operators)


@pytest.mark.parametrize("name", REPAIRS)
def test_8_bits_keep_the_activation(any_keras, running, name):
    model = activated(any_keras, name)
    artifact = edgeopt.convert(model, calibration=X, calibration_samples=100, isolate=False)
    assert artifact.fully_int8 and artifact.warnings == ()
    assert operators(artifact.model)["FULLY_CONNECTED"] == 2  # none is computed twice
    [repair] = [repair["kind"] for repair in artifact.sidecar["repairs"]]
    assert repair == {"elu": "elu", "selu": "exponential"}.get(name, "softplus")
    run = running(artifact.model)
    found = np.concatenate([run.real({"x": sample[None]})[0] for sample in X])
    wanted = np.asarray(model(X))
    assert 10 * np.log10(np.var(wanted) / np.mean((found - wanted) ** 2)) > 30


@pytest.mark.parametrize("name", REPAIRS)
def test_without_the_repair_it_is_refused_or_worse(name):
    import keras

    def plain():
        return edgeopt.convert(activated(keras, name), calibration=X, repair=False, isolate=False)

    if name == "elu":
        with pytest.raises(ModelError, match="ELU"):
            plain()
    else:
        assert plain().fidelity.snr_db < 20


@pytest.mark.parametrize("name", REPAIRS)
def test_the_float_file_computes_the_same(name):
    import keras

    content = edgeopt.convert(activated(keras, name), quantize="float32", isolate=False).model
    change = REPAIRS[name](content, {"x": X})
    assert change is not None and computes_the_same(content, change.content, {"x": X})
    assert REPAIRS[name](edgeopt.convert(activated(keras, "tanh"), quantize="float32", isolate=False).model, {}) is None


def test_an_exponential_that_is_used_elsewhere_stays(tmp_path):
    """Its values above 0 are wanted, too; and so they are where 1 and not 0 divides."""
    import tensorflow as tf

    def exported(name, way):
        class Own(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec([None, 6, 8], tf.float32, name="x")])
            def __call__(self, x):
                return {"y": way(x)}

        tf.saved_model.save(Own(), str(tmp_path / name))
        return edgeopt.convert(str(tmp_path / name), quantize="float32", isolate=False).model

    own = exported("own", lambda x: tf.where(x > 0, 2 * x, 3 * tf.exp(x) - 3))
    assert bounded_powers(own, {}) is not None
    shared = exported("shared", lambda x: tf.where(x > 0, x, (power := tf.exp(x)) - 1) + power)
    assert bounded_powers(shared, {}) is None
    elsewhere = exported("elsewhere", lambda x: tf.where(x > 1, x, tf.exp(x) - 1))
    assert bounded_powers(elsewhere, {}) is None
