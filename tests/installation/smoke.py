"""Convert a tiny Keras model to int8 and validate it, with whatever edgeopt is installed beside the Python that runs this.

A program, not a test: it needs nothing but edgeopt. Its last line is the versions that did it, as JSON.

    python smoke.py            convert and validate, from the command line, as a user would
    python smoke.py --train    and prune and train quantised, which is where versions of Keras and TensorFlow meet
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

DISTRIBUTIONS = ("edgeopt", "tensorflow", "keras", "tf-keras", "numpy", "ai-edge-litert")
RECIPE = """loss = "sparse_categorical_crossentropy"
[[pass]]
kind = "prune"
sparsity = 0.5
epochs = 1
[[pass]]
kind = "qat"
epochs = 1
"""


def edgeopt(*words: str) -> None:
    """Run the command line in a process of its own; what it says is shown only if it fails."""
    command = [sys.executable, "-m", "edgeopt", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"edgeopt {' '.join(words)} failed with status {done.returncode}:\n{done.stdout[-4000:]}")


def prepare() -> None:
    """Write a model and samples of three classes that its average of an image tells apart."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    import keras
    import numpy as np

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 240)
    images = (rng.uniform(0, 0.3, (240, 8, 8, 1)) + labels[:, None, None, None] / 3).astype("float32")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, use_bias=False)(inputs)))
    x = layers.Dense(3, activation="softmax", name="scores")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x)
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    model.fit(images[:200], labels[:200], epochs=30, verbose=0)
    model.save("model.keras")
    np.savez("train.npz", x=images[:200], y=labels[:200])
    np.savez("test.npz", x=images[200:], y=labels[200:])


def main() -> None:
    """Do it in a folder that goes away."""
    train = "--train" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        prepare()
        edgeopt("convert", "model.keras", "-o", "model.tflite", "--calibration", "train.npz")
        edgeopt("validate", "model.tflite", "--data", "test.npz", "--baseline", "model.keras", "--max-drop", "0.2",
                "--json", "report.json")  # fmt: skip
        report = json.loads(Path("report.json").read_text())
        if not report["accuracy"] > 0.8:  # chance is 0.33; noise of 0.3 between classes 0.33 apart loses none
            sys.exit(f"The accuracy of the converted file is {report['accuracy']}, expected more than 0.8.")
        if train:
            Path("recipe.toml").write_text(RECIPE)
            edgeopt("optimize", "model.keras", "--recipe", "recipe.toml", "--train", "train.npz", "--validation",
                    "test.npz", "-o", "optimized")  # fmt: skip
        os.chdir("/")
    versions = {name: version(name) for name in DISTRIBUTIONS}
    print(json.dumps({"python": sys.version.split()[0], "accuracy": report["accuracy"], **versions}))


if __name__ == "__main__":
    main()
