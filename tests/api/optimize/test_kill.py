"""A run that is killed in the middle of quantisation-aware training goes on with --resume, to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

RECIPE = """
[[pass]]
kind = "qat"
epochs = 5
batch_size = 8
steps_per_epoch = 12
"""
WAIT_S = 300.0


def command(folder, *more):
    data = ["--train", "train.npz", "--validation", "test.npz", "--seconds", "0.5"]
    return [sys.executable, "-m", "edgeopt", "optimize", "model.keras", "--recipe", "recipe.toml", *data, "-o", folder,
            *more]  # fmt: skip


@pytest.fixture
def workplace(tmp_path):
    import keras

    keras.utils.set_random_seed(4)
    layers = keras.layers
    keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    ).save(tmp_path / "model.keras")
    generator = np.random.default_rng(0)
    for name, count in (("train", 96), ("test", 30)):
        x = generator.normal(size=(count, 8, 8, 1)).astype("float32")
        np.savez(tmp_path / f"{name}.npz", x=x, y=generator.integers(0, 3, count))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


@pytest.mark.heavy
def test_sigkill_in_the_middle_of_qat_then_resume_ends_with_the_bits_of_an_unbroken_run(workplace):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    options = {"cwd": workplace, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    whole = subprocess.run(command("whole"), text=True, **options)
    assert whole.returncode == 0, whole.stderr

    killed = subprocess.Popen(command("broken"), start_new_session=True, **options)
    state = workplace / "broken" / "work" / "01-qat" / "qat.npz"
    end = time.monotonic() + WAIT_S
    while not state.is_file() and killed.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (workplace / "broken" / "work" / "01-qat" / "stage.json").exists()
    with np.load(state) as archive:
        epoch = json.loads(archive["facts"].tobytes())["epoch"]
    assert 1 <= epoch <= 5

    resumed = subprocess.run(command("broken", "--resume"), text=True, **options)
    assert resumed.returncode == 0, resumed.stderr
    stages = [json.loads((workplace / name / "result.json").read_text())["stages"][-1] for name in ("whole", "broken")]
    assert [stage["report"]["resumed_at"] for stage in stages] == [0, epoch]
    assert stages[0]["report"]["history"] == stages[1]["report"]["history"]
    files = [(workplace / name / "01-qat.tflite").read_bytes() for name in ("whole", "broken")]
    assert files[0] == files[1]
