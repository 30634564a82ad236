"""What is used of TFMOT's private parts is there, and does what it is used for."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.tfmot import private as tfmot_private


@pytest.fixture
def pruned():
    """A wrapped Dense layer of 4 x 4 weights from -8 to 7, to be pruned by half at step 1."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    layer = tf_keras.layers.Dense(4, use_bias=False)
    schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, 1, 1, 1)
    wrapper = tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)
    wrapper.build((None, 4))
    layer.kernel.assign(np.arange(-8.0, 8.0).reshape(4, 4) + 0.25)
    return wrapper


def test_masks_are_made_at_a_step_and_applied(pruned):
    (kernel,) = tfmot_private.pruned_weights(pruned)
    tfmot_private.update_masks(pruned, 1)
    assert np.count_nonzero(kernel.numpy()) == 8
    assert kernel.numpy()[0, 0] == -7.75 and kernel.numpy()[2, 0] == 0.0
    kernel.assign_add(np.ones((4, 4)))
    tfmot_private.apply_masks(pruned)
    assert np.count_nonzero(kernel.numpy()) == 8


def test_at_another_step_they_stay(pruned):
    tfmot_private.update_masks(pruned, 2)
    assert np.count_nonzero(tfmot_private.pruned_weights(pruned)[0].numpy()) == 16


def test_scores_replace_magnitudes(pruned):
    scores = np.zeros((4, 4))
    scores[:, 1] = scores[:, 2] = 1.0
    scores[0] += 0.1  # no ties at the threshold
    tfmot_private.prune_by_scores(pruned, [scores + np.arange(16.0).reshape(4, 4) * 1e-3])
    tfmot_private.update_masks(pruned, 1)
    kept = tfmot_private.pruned_weights(pruned)[0].numpy() != 0
    assert kept[:, 1:3].sum() >= 7 and not kept[1:, 0].any() and not kept[1:, 3].any()


def test_the_sparsity_preserving_clustering_is_where_it_was():
    import tensorflow_model_optimization as tfmot
    import tf_keras

    generator = np.random.default_rng(0)
    model = tf_keras.Sequential([tf_keras.Input((12,)), tf_keras.layers.Dense(10, name="dense")])
    values = generator.normal(size=(12, 10)) * (generator.random((12, 10)) < 0.5)
    model.layers[0].kernel.assign(values)
    linear = tfmot.clustering.keras.CentroidInitialization.LINEAR
    wrapped = tf_keras.models.clone_model(
        model, clone_function=lambda layer: tfmot_private.cluster_layer(layer, 5, linear, preserve_sparsity=True)
    )
    assert tfmot_private.clustered_names(wrapped.layers[0]) == ["kernel"]
    kernel = tfmot.clustering.keras.strip_clustering(wrapped).layers[0].kernel.numpy()
    assert len(np.unique(kernel)) <= 5
    assert (kernel[values == 0] == 0).all()
