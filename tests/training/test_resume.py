"""Passes that train in TFMOT's wrappers go on where they were stopped, masks and centroids included, to the same bits.

(Fine-tuning and quantisation-aware training are killed in earnest, in test_training_kill and test_optimize_kill.)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeopt.passes.cluster.cluster import Cluster
from edgeopt.passes.prune.prune import Prune
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

TRAINING = Training(epochs=3, batch_size=8, learning_rate=0.01)
PASSES = {
    "prune": Prune(sparsity=0.75, training=TRAINING),
    "cluster": Cluster(clusters=8, preserve_sparsity=True, training=TRAINING),
}


def network(keras):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 4), name="signal"),
            layers.Conv1D(16, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flat"),
            layers.Dense(3, name="classes"),
        ]
    )


@pytest.mark.heavy
@pytest.mark.parametrize("name", PASSES)
def test_it_ends_with_the_weights_of_an_unbroken_run(name, tmp_path):
    import keras
    import tf_keras

    class Interrupt(tf_keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    generator = np.random.default_rng(0)
    data = generator.normal(size=(64, 8, 4)).astype(np.float32), generator.normal(size=(64, 3)).astype(np.float32)
    context = PassContext(train=data, loss="mse")
    whole = PASSES[name].apply(network(keras), context)
    stopped = replace(context, checkpoints=tmp_path, callbacks=(Interrupt(),))
    with pytest.raises(KeyboardInterrupt):
        PASSES[name].apply(network(keras), stopped)
    resumed = PASSES[name].apply(network(keras), replace(context, checkpoints=tmp_path))
    assert resumed.report.resumed_at == 2
    assert len(whole.report.history) == len(resumed.report.history) == 3
    for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
