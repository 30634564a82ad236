"""``strategy = "multi_worker"`` in a recipe: two workers on loopback train together and make the same files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

import edgeopt
from edgeopt.errors import UsageError

RECIPE = """
[[pass]]
kind = "qat"
epochs = 1
batch_size = 16
strategy = "multi_worker"
"""


@pytest.mark.heavy
def test_two_workers_optimize_a_keras_3_model_to_the_same_bytes(tmp_path):
    import keras

    layers = keras.layers
    keras.Sequential(
        [keras.Input((6, 6, 1), name="image"), layers.Conv2D(8, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    ).save(tmp_path / "model.keras")
    generator = np.random.default_rng(0)
    x = generator.normal(size=(64, 6, 6, 1)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x, y=generator.integers(0, 2, 64))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    cluster = {"worker": [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]}
    for each in sockets:
        each.close()

    def start(index):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        options = ["--train", "data.npz", "--validation", "data.npz", "--seconds", "0.2", "-o", f"worker{index}"]
        command = [sys.executable, "-m", "edgeopt", "optimize", "model.keras", "--recipe", "recipe.toml", *options]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_CONFIG": config}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, **quiet)

    workers = [start(0), start(1)]
    errors = [worker.communicate(timeout=500)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    plain, *files = [
        (tmp_path / name).read_bytes()
        for name in ("worker0/00-original.tflite", "worker0/01-qat.tflite", "worker1/01-qat.tflite")
    ]
    assert files[0] == files[1]
    assert files[0] != plain


def test_a_run_of_several_workers_cannot_be_resumed():
    recipe = {"pass": [{"kind": "finetune", "epochs": 1, "strategy": "multi_worker"}]}
    with pytest.raises(UsageError, match="strategy='multi_worker' cannot be resumed"):
        edgeopt.optimize("model.keras", recipe, train="x", validation="x", output="out", resume=True)


@pytest.mark.heavy
def test_workers_that_come_too_late_are_told_what_to_do(monkeypatch):
    import tensorflow as tf

    from edgeopt.training.strategies import join_workers

    join_workers.cache_clear()
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}}))
    assert float(tf.constant(1.0) + 1.0) == 2.0
    recipe = {"pass": [{"kind": "finetune", "epochs": 1, "strategy": "multi_worker"}]}
    with pytest.raises(UsageError, match="run `edgeopt optimize` on a model file"):
        edgeopt.optimize("model.keras", recipe, train="x", validation="x")
