"""The pass that only trains: a copy, and zeros that stay."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ModelError, RecipeError, UsageError
from edgeopt.passes.base import PassContext
from edgeopt.passes.copying import copy_model
from edgeopt.passes.finetune import FineTune, zero_keeper
from edgeopt.passes.training import Training

LOSS = "sparse_categorical_crossentropy"


def network(keras):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,), name="x"),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.Dense(2, activation="softmax", name="classes"),
        ]
    )


def data():
    generator = np.random.default_rng(0)
    return generator.normal(size=(40, 6)).astype(np.float32), generator.integers(0, 2, 40)


@pytest.mark.heavy
def test_a_trained_copy_comes_out_and_pruned_weights_stay_zero(keras):
    model = network(keras)
    kernel = model.get_layer("hidden").kernel
    pruned = kernel.numpy()
    pruned[::2] = 0.0
    kernel.assign(pruned)
    before = model.get_weights()
    result = FineTune(training=Training(epochs=2)).apply(model, PassContext(train=data(), loss=LOSS))
    after = result.model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert np.array_equal(after[0] == 0, pruned == 0)
    assert not np.array_equal(after[0], before[0])
    assert result.report.to_dict()["kept_zeros"] == {"hidden": 24}
    free = FineTune(keep_zeros=False).apply(model, PassContext(train=data(), loss=LOSS))
    assert np.count_nonzero(free.model.get_weights()[0] == 0) < 24  # without the option they move


def test_a_zero_by_chance_is_not_kept(keras):
    model = network(keras)
    kernel = model.get_layer("hidden").kernel
    chance = kernel.numpy()
    chance[0, 0] = 0.0
    kernel.assign(chance)
    assert zero_keeper(model) == (None, {})


def test_frozen_layers_nested_models_and_names_are_copied(keras):
    layers = keras.layers
    inside = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="a"), layers.BatchNormalization()], name="back")
    inside.trainable = False
    inputs = keras.Input((6,), name="x")
    model = keras.Model(inputs, layers.Dense(2, name="head")(inside(inputs)))
    copied = copy_model(model)
    assert [layer.name for layer in copied.layers] == [layer.name for layer in model.layers]
    assert len(copied.trainable_weights) == len(model.trainable_weights) == 2
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), copied.get_weights(), strict=True))
    copied.get_layer("head").kernel.assign(np.zeros((4, 2)))
    assert model.get_layer("head").kernel.numpy().any()


def test_no_epochs_are_refused():
    with pytest.raises(RecipeError, match="epochs=0 for the pass 'finetune'"):
        FineTune(training=Training(epochs=0))


def test_what_is_no_model_or_cannot_be_copied_is_refused(keras):
    with pytest.raises(UsageError, match="Received int; expected a Keras model"):
        copy_model(3)

    class Mine(keras.Model):
        def call(self, x):
            return x if keras.ops.sum(x) > 0 else -x

    with pytest.raises(ModelError, match="Mine|mine"):
        copy_model(Mine())
