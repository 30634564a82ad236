"""The pass that only trains: a copy, and zeros that stay."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ModelError, RecipeError, UsageError
from edgeopt.models.copying import copy_model
from edgeopt.passes.finetune import FineTune
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training
from edgeopt.training.zero_keeper import zero_keeper

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


def adapted(keras):
    """A network that begins with a Normalization that has seen data: its constants are not in the configuration."""
    layers = keras.layers
    normalise = layers.Normalization(axis=-1, name="normalise")
    normalise.adapt(np.random.default_rng(0).normal(50.0, 10.0, (64, 6)).astype(np.float32))
    middle = layers.Dense(32, activation="relu", name="hidden")
    return keras.Sequential([keras.Input((6,)), normalise, middle, layers.Dense(2, activation="softmax")])


def test_an_adapted_normalization_still_normalises_in_a_copy(keras):
    model = adapted(keras)
    x = np.full((1, 6), 50.0, np.float32)
    np.testing.assert_array_equal(np.asarray(copy_model(model)(x)), np.asarray(model(x)))


@pytest.mark.heavy
def test_an_adapted_normalization_still_normalises_behind_other_ways_of_copying(keras):
    from edgeopt.passes.channels import ChannelPruning

    model, x = adapted(keras), np.full((16, 6), 50.0, np.float32)
    context = PassContext(train=(x, np.zeros(16, int)), loss="sparse_categorical_crossentropy")
    assert ChannelPruning(fraction=0.5).apply(model, context).model.get_layer("hidden").units < 32
    # In bfloat16 the copy that is trained must normalise too: of inputs around 50 the loss would be far larger.
    half = Training(learning_rate=1e-9, mixed_precision="mixed_bfloat16")
    found = FineTune(training=half).apply(model, context).report.history[0]["loss"]
    assert found == pytest.approx(-np.log(np.asarray(model(x))[0, 0]), rel=0.02)


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
