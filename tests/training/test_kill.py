"""A training that is killed, or whose disk is full, in a process of its own: what is left, and how it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import importlib, os, resource, signal, sys
import numpy as np
from pathlib import Path
from edgeopt.passes.base import PassContext
from edgeopt.passes.finetune import FineTune
from edgeopt.training.options import Training

flavour, folder, mode = sys.argv[1:]
keras = importlib.import_module(flavour)
keras.utils.set_random_seed(1)
layers = keras.layers
model = keras.Sequential([
    keras.Input((6,)), layers.Dense(8, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.5),
    layers.Dense(2, activation="softmax"),
])
generator = np.random.default_rng(0)
images, labels = generator.normal(size=(50, 6)).astype("float32"), generator.integers(0, 2, 50)


class Fault(keras.callbacks.Callback):
    steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if mode == "kill" and self.steps == 10:  # in the third epoch of four steps each
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == "full" and self.steps == 6:  # what a full disk is to a process: no file may grow further
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


context = PassContext(
    train=(images, labels), loss="sparse_categorical_crossentropy", seed=7, callbacks=(Fault(),),
    checkpoints=None if folder == "-" else Path(folder),
)
done = FineTune(training=Training(epochs=4, batch_size=16, learning_rate_schedule="cosine")).apply(model, context)
np.savez(sys.argv[2] + ".npz" if folder != "-" else "whole.npz", *done.model.get_weights())
print("resumed at", done.report.resumed_at)
"""


@pytest.fixture
def child(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)

    def run(flavour, folder, mode):
        command = [sys.executable, "script.py", flavour, folder, mode]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)

    return run


@pytest.mark.heavy
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
def test_a_killed_run_goes_on_at_the_last_epoch_and_ends_with_the_bits_of_an_unbroken_one(child, tmp_path, flavour):
    assert child(flavour, "-", "none").returncode == 0
    assert child(flavour, "state", "kill").returncode == -signal.SIGKILL
    assert [item.name for item in (tmp_path / "state").iterdir()] == ["finetune.npz"]
    done = child(flavour, "state", "none")
    assert (done.returncode, done.stdout) == (0, "resumed at 2\n"), done.stderr
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "state.npz") as resumed:
        assert len(whole.files) == len(resumed.files) > 4
        assert all(np.array_equal(whole[name], resumed[name]) for name in whole.files)


@pytest.mark.heavy
def test_a_full_disk_is_an_output_error_and_the_epoch_before_is_kept(child, tmp_path):
    done = child("keras", "state", "full")
    assert done.returncode == 1
    assert "OutputError: The checkpoint could not be written (the checkpoint of the epoch before is still there)" in (
        done.stderr
    )
    with np.load(tmp_path / "state" / "finetune.npz") as archive:
        assert b'"epoch": 1' in archive["facts"].tobytes()
    assert [item.name for item in (tmp_path / "state").iterdir()] == ["finetune.npz"]
