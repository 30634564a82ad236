"""TensorFlow's strategies by name, over two logical devices, and the devices by their names."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from edgeopt.errors import RecipeError, UsageError
from edgeopt.training import Training
from edgeopt.training.strategies import devices_of, needs_tf_keras, strategy_of

# A process of its own: devices are divided before TensorFlow computes anything.
TWO_DEVICES = """
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from dataclasses import replace
from edgeopt.models.load import import_keras
from edgeopt.models.detect import Flavour
from edgeopt.passes.base import PassContext
from edgeopt.passes.registry import plan

labels = np.random.default_rng(0).integers(0, 2, 64)
images = (np.random.default_rng(1).normal(size=(64, 6)) + labels[:, None]).astype("float32")
context = PassContext(train=(images, labels), loss="sparse_categorical_crossentropy")
two = ["CPU:0", "CPU:1"]
strategies = {
    "mirrored": tf.distribute.MirroredStrategy(two),
    "central_storage": tf.distribute.experimental.CentralStorageStrategy(two, "CPU:0"),
}


def trained(keras, kind, strategy):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((6,), name="x"), layers.Dense(8, activation="relu", name="hidden"),
        layers.Dense(2, activation="softmax", name="classes"),
    ])
    target = {"sparsity": 0.5} if kind == "prune" else {}
    step = plan({"kind": kind, **target, "epochs": 1, "batch_size": 16, "optimizer": "sgd", "learning_rate": 0.1}).step
    return replace(step, training=replace(step.training, strategy=strategy)).apply(model, context)


for flavour in Flavour:
    keras = import_keras(flavour)
    cases = [("prune", "mirrored")] + [("finetune", "central_storage")] * (flavour is Flavour.KERAS3)
    for kind, name in cases:
        alone, both = trained(keras, kind, None), trained(keras, kind, strategies[name])
        assert alone.report.devices == ("CPU:0",) and both.report.devices == ("CPU:0", "CPU:1"), both.report.devices
        assert type(both.model).__module__.split(".")[0] == keras.__name__.split(".")[0]
        pairs = zip(alone.model.get_weights(), both.model.get_weights(), strict=True)
        apart = max(float(np.abs(one - other).max()) for one, other in pairs)
        assert apart <= 1e-6, (flavour, kind, name, apart)
        if kind == "prune":
            kernel = both.model.get_layer("hidden").get_weights()[0]
            assert (kernel == 0).mean() == 0.5, (kernel == 0).mean()
print("held")
"""


@pytest.mark.heavy
def test_two_devices_train_both_flavours_to_the_weights_of_one():
    """Sums in another order: float32's rounding."""
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip().endswith("held"), done.stderr[-2000:]


def test_a_strategy_has_our_name_and_tensorflows():
    assert Training(strategy="MirroredStrategy").strategy == Training(strategy="mirrored").strategy == "mirrored"
    assert Training(strategy="TPUStrategy").to_dict()["strategy"] == "tpu"
    with pytest.raises(RecipeError, match="strategy"):
        Training(strategy="mirored")


def test_what_cannot_be_made_here_is_refused_in_a_sentence(monkeypatch):
    import tensorflow as tf

    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(UsageError, match="strategy='tpu' found no TPU .*; set TPU_NAME"):
        strategy_of("tpu")
    asynchronous = object.__new__(tf.distribute.ParameterServerStrategy)
    with pytest.raises(UsageError, match="ParameterServerStrategy trains through a coordinator of its own"):
        strategy_of(asynchronous)


def test_keras_3_trains_in_tf_keras_where_its_own_fit_cannot():
    import tensorflow as tf

    assert needs_tf_keras(object.__new__(tf.distribute.TPUStrategy))
    assert not needs_tf_keras(tf.distribute.OneDeviceStrategy("CPU:0"))


def test_a_gpu_is_named_with_its_model(monkeypatch):
    """What TensorFlow tells where there are two GPUs, of which there is none here."""
    import tensorflow as tf

    assert devices_of(None) == ("CPU:0",) == devices_of(strategy_of("one_device"))
    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{number}", "GPU") for number in (0, 1)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus if kind == "GPU" else [])
    models = {gpus[0]: "NVIDIA L4", gpus[1]: "NVIDIA T4"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": models[gpu]})
    assert devices_of(None) == ("GPU:0 (NVIDIA L4)",)
    names = [f"/job:localhost/replica:0/task:0/device:GPU:{number}" for number in (0, 1)]
    both = SimpleNamespace(extended=SimpleNamespace(worker_devices=names))
    assert devices_of(both) == ("GPU:0 (NVIDIA L4)", "GPU:1 (NVIDIA T4)")
