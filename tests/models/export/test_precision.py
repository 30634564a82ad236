"""`edgeopt.models.export.precision`: a model trained in mixed precision computes in float32 while it is exported."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ConversionError
from edgeopt.models.export.precision import full_precision
from edgeopt.models.load import describe

X = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)


def network(keras, policy):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 3), name="x"),
            layers.Conv2D(4, 3, dtype=policy, name="conv"),
            layers.BatchNormalization(dtype=policy),
            layers.Flatten(dtype=policy),
            layers.Dense(2, dtype=policy, name="dense"),
        ]
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_becomes_float32_and_back(any_keras, policy):
    mixed, plain = network(any_keras, policy), network(any_keras, "float32")
    plain.set_weights(mixed.get_weights())
    loaded = describe(mixed)
    with full_precision(loaded) as names:
        found = np.asarray(mixed(X, training=False))
    assert {"conv", "dense"} <= set(names)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.asarray(plain(X, training=False)))
    after = mixed(X, training=False)
    assert getattr(after.dtype, "name", after.dtype) == policy.removeprefix("mixed_")


def test_a_float32_model_is_left_alone(any_keras):
    with full_precision(describe(network(any_keras, "float32"))) as names:
        assert names == []


@pytest.mark.parametrize("policy", ["float16", "float64"])
def test_weights_of_another_type_are_refused_by_layer(any_keras, policy):
    loaded = describe(network(any_keras, policy))
    with pytest.raises(
        ConversionError, match=f"Layer 'conv' keeps its weights as {policy}, but TFLite computes in float32"
    ):
        with full_precision(loaded):
            pass
