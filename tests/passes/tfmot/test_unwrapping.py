"""A copy without TFMOT's wrappers computes what the wrapped model would after stripping, which trains on untouched."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.tfmot import private as tfmot_private
from edgeopt.passes.tfmot.unwrapping import without_wrappers
from edgeopt.passes.tfmot.wrapping import wrap, wrappable

X = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype("float32")


def network():
    import tf_keras

    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return tf_keras.Model(image, [layers.Dense(3, name="kind")(x), layers.Dense(1, name="size")(x)])


def pruned(layer):
    import tensorflow_model_optimization as tfmot

    schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, 0, -1, 1)
    return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)


def clustered(layer):
    import tensorflow_model_optimization as tfmot

    linear = tfmot.clustering.keras.CentroidInitialization.LINEAR
    return tfmot_private.cluster_layer(layer, 4, linear, preserve_sparsity=False)


def wrapped(wrapper):
    model = wrap(wrappable(network(), 0), lambda name, layer: wrapper(layer) if name in ("conv", "kind") else layer)
    for item in model.layers:
        if wrapper is pruned and hasattr(item, "pruning_vars"):
            tfmot_private.update_masks(item, 0)
            (kernel,) = tfmot_private.pruned_weights(item)
            kernel.assign_add(np.full(kernel.shape, 0.01))  # a step of the optimiser, which moves zeros too
    return model


@pytest.mark.parametrize("wrapper", [pruned, clustered])
def test_the_copy_computes_what_the_stripped_model_does(wrapper):
    import tensorflow_model_optimization as tfmot

    model = wrapped(wrapper)
    before = [weight.numpy() for weight in model.weights]
    plain = without_wrappers(model)
    assert [layer.name for layer in plain.layers] == [layer.name for layer in network().layers]
    assert list(plain.output_names) == list(model.output_names) == ["kind", "size"]
    kernel = plain.get_layer("conv").kernel.numpy()
    assert np.count_nonzero(kernel == 0) == 36 if wrapper is pruned else len(np.unique(kernel)) == 4
    for weight, array in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), array)
    outputs = plain(X)
    plain.get_layer("conv").kernel.assign(np.zeros_like(kernel))  # the copy's alone
    if wrapper is pruned:
        for item in model.layers:
            if hasattr(item, "pruning_vars"):
                tfmot_private.apply_masks(item)
        stripped = tfmot.sparsity.keras.strip_pruning(model)
    else:
        stripped = tfmot.clustering.keras.strip_clustering(model)
    for ours, theirs in zip(outputs, stripped(X), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_model_without_wrappers_is_given_back(any_keras):
    model = any_keras.Sequential([any_keras.Input((4,)), any_keras.layers.Dense(2)])
    assert without_wrappers(model) is model
