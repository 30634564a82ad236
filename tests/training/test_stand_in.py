"""Strategies and half precision: trained on a stand-in, the weights come back into the model that was given."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from edgeopt.errors import ModelError, RecipeError, UsageError
from edgeopt.training.context import PassContext
from edgeopt.training.loop import train
from edgeopt.training.options import Training
from edgeopt.training.zero_keeper import ZeroKeeper

LOSS = "sparse_categorical_crossentropy"


def network(keras):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6,), name="x"),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(2, activation="softmax", name="classes"),
        ]
    )


def data():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 64)
    return (generator.normal(size=(64, 6)) + labels[:, None]).astype(np.float32), labels


@pytest.mark.heavy
def test_bfloat16_trains_in_half_precision_and_leaves_a_float32_model(keras):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.extend((layer.compute_dtype, layer.variable_dtype) for layer in self.model.layers[-3:])

    model, plain = network(keras), network(keras)
    before = model.get_weights()
    context = PassContext(train=data(), loss=LOSS)
    training = Training(epochs=3, learning_rate=0.01, batch_size=16)
    from dataclasses import replace

    done = train(model, context, replace(training, mixed_precision="mixed_bfloat16"), name="t", callbacks=[Look()])
    exact = train(plain, context, training, name="t")
    assert seen == [("bfloat16", "float32"), ("bfloat16", "float32"), ("float32", "float32")]
    assert done.model is model
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert not np.array_equal(before[0], model.get_weights()[0])
    # bfloat16 has 8 bits of mantissa: the losses agree to some 2**-8 of their size, and are not the same.
    assert done.history[-1]["loss"] == pytest.approx(exact.history[-1]["loss"], rel=0.05)
    assert done.history != exact.history


@pytest.mark.heavy
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_finetune_and_channels_run_in_half_precision(keras, precision):
    from edgeopt.passes.channels import ChannelPruning
    from edgeopt.passes.finetune import FineTune

    model, training = network(keras), Training(epochs=2, learning_rate=0.01, mixed_precision=precision)
    context = PassContext(train=data(), loss=LOSS)
    tuned = FineTune(training=training).apply(model, context)
    assert tuned.report.history[-1]["loss"] < tuned.report.history[0]["loss"]
    context = PassContext(train=data(), loss=LOSS, finetune=lambda m: train(m, context, training, name="t").model)
    cut = ChannelPruning(fraction=0.5, multiple=1, minimum=2, steps=2).apply(tuned.model, context)
    assert cut.model.get_layer("hidden").units < 8
    for result in (tuned.model, cut.model):
        assert {weight.numpy().dtype for weight in result.trainable_weights} == {np.dtype("float32")}
        assert {layer.compute_dtype for layer in result.layers} == {"float32"}


@pytest.mark.heavy
def test_float16_scales_the_loss_so_that_small_gradients_are_not_lost(keras):
    """Of a loss of 1e-6 the gradients are below 6e-8, the smallest number that float16 has, unless it is scaled."""

    class Scaled(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(type(self.model.optimizer).__name__)

    def tiny(labels, outputs):
        return 1e-6 * keras.losses.sparse_categorical_crossentropy(labels, outputs)

    seen = []
    model, plain = network(keras), network(keras)
    training = Training(epochs=1, optimizer="sgd", learning_rate=1e5, batch_size=64)
    from dataclasses import replace

    half = replace(training, mixed_precision="mixed_float16")
    train(model, PassContext(train=data(), loss=tiny), half, name="t", callbacks=[Scaled()])
    train(plain, PassContext(train=data(), loss=tiny), training, name="t", callbacks=[Scaled()])
    assert "LossScale" in seen[0]
    assert "LossScale" not in seen[1]
    # float16 has 10 bits of mantissa; a few operations in a row leave a percent. Lost gradients would leave no change.
    start = network(keras).get_layer("hidden").kernel.numpy()
    ours, theirs = (item.get_layer("hidden").kernel.numpy() - start for item in (model, plain))
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", ["prune", "cluster", "qat"])
def test_passes_that_wrap_layers_refuse_half_precision_before_anything_is_computed(kind, precision):
    from edgeopt.passes.registry import plan

    wanted = {"prune": {"sparsity": 0.5}, "cluster": {"clusters": 4}, "qat": {}}[kind]
    with pytest.raises(RecipeError, match=f"Pass '{kind}' cannot train with {precision}.*leave mixed_precision out"):
        plan({"kind": kind, "mixed_precision": precision, **wanted})


@pytest.mark.heavy
def test_a_mirrored_strategy_trains_as_one_device_does(keras):
    import tensorflow as tf

    model, plain = network(keras), network(keras)
    mask = np.ones((6, 8), np.float32)
    mask[:2] = 0.0
    keepers = [ZeroKeeper([(item.get_layer("hidden").kernel, mask)]) for item in (model, plain)]
    context = PassContext(train=data(), loss=LOSS)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    train(model, context, Training(epochs=2, strategy=strategy), name="t", keep=keepers[0])
    train(plain, context, Training(epochs=2), name="t", keep=keepers[1])
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)  # float32 sums in another order
    assert (model.get_weights()[0][:2] == 0).all()


def test_half_precision_is_refused_for_nested_models_and_for_what_wraps_layers():
    import tensorflow_model_optimization as tfmot
    import tf_keras

    model = network(tf_keras)
    outer = tf_keras.Sequential([tf_keras.Input((6,)), model])
    training = Training(mixed_precision="mixed_bfloat16")
    with pytest.raises(ModelError, match="is nested in it; flatten it first"):
        train(outer, PassContext(train=data(), loss=LOSS), training, name="t")
    wrapped = tfmot.sparsity.keras.prune_low_magnitude(model)
    with pytest.raises(ModelError, match="PruneLowMagnitude. computes in float32 only"):
        train(wrapped, PassContext(train=data(), loss=LOSS), training, name="t")


def test_what_is_no_strategy_is_refused(keras):
    with pytest.raises(UsageError, match="strategy of type int"):
        train(network(keras), PassContext(train=data(), loss=LOSS), Training(strategy=3), name="t")


WORKER = """
import sys
import numpy as np
from edgeopt.passes.base import PassContext
from edgeopt.training import Training, train
import tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy() if sys.argv[1] != "alone" else None
import keras
keras.utils.set_random_seed(1)
layers = keras.layers
model = keras.Sequential([
    keras.Input((6,), name="x"), layers.Dense(8, activation="relu", name="hidden"),
    layers.Dense(2, activation="softmax", name="classes"),
])
generator = np.random.default_rng(0)
labels = generator.integers(0, 2, 64)
images = (generator.normal(size=(64, 6)) + labels[:, None]).astype("float32")
training = Training(epochs=2, batch_size=16, optimizer="sgd", learning_rate=0.1, strategy=strategy)
train(model, PassContext(train=(images, labels), loss="sparse_categorical_crossentropy"), training, name="t")
np.savez(sys.argv[1] + ".npz", *model.get_weights())
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.mark.heavy
def test_two_workers_train_a_keras_3_model_to_the_weights_of_one(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}

    def start(index):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        if index != "alone":
            environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": int(index)}})
        command = [sys.executable, "worker.py", index]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)

    workers = [start("0"), start("1")]
    errors = [worker.communicate(timeout=400)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    alone = start("alone")
    assert (alone.communicate(timeout=400)[1] is not None, alone.returncode) == (True, 0)
    weights = [list(np.load(tmp_path / f"{name}.npz").values()) for name in ("0", "1", "alone")]
    for first, second, single in zip(*weights, strict=True):
        assert np.array_equal(first, second)
        np.testing.assert_allclose(first, single, atol=1e-5)  # float32 sums in another order
