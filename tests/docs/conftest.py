"""What the reader of a page has: a model, data, files, and results."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edgeopt
from edgeopt.cli.main import main
from edgeopt.devices import BenchPlan


def photos(count: int, seed: int, size: tuple[int, int] = (8, 8), classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Pictures in [0, 1] and their classes, which are told by which rows are bright."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    pictures = random.uniform(0, 0.5, (count, *size, 1))
    rows = size[0] // classes
    for label in range(classes):
        pictures[labels == label, rows * label : rows * (label + 1)] += 0.5
    return pictures.astype(np.float32), labels


def given_pictures(folder: Path) -> None:
    """Write a folder of photos, train and test, a sub-folder a class."""
    for seed, part in enumerate(("train", "test")):
        for number, (picture, label) in enumerate(zip(*photos(90, seed), strict=True)):
            place = folder / part / ("daisy", "rose", "tulip")[label] / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture[..., 0] * 255).astype(np.uint8)).convert("RGB").save(place)


def small(keras: Any, filters: int = 16) -> Any:
    """A network for them, not trained."""
    layers = [keras.Input((8, 8, 1), name="image"), keras.layers.Conv2D(filters, 3, padding="same", name="conv")]
    layers += [keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Conv2D(filters, 3, name="next")]
    layers += [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax", name="scores")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(autouse=True)
def short_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a page's Python does not say how long a timing is, it is short here; how long it is otherwise, others test."""
    plan = asdict(BenchPlan()) | {"min_seconds": 0.1, "max_seconds": 0.2, "processes": 1}
    monkeypatch.setattr(BenchPlan.__init__, "__defaults__", tuple(plan.values()))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages take as given: a model, data, files, and results."""
    import keras

    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        model = small(keras)
        model.fit(*photos(300, 0), epochs=4, verbose=0)
        model.save("model.keras")
        for seed, name in enumerate(("train", "val", "test", "choose")):
            images, labels = photos(300, seed)
            np.savez(f"{name}.npz", x=images, y=labels)
        given_pictures(folder / "photos")
        for seed, name in enumerate(("words", "words_test")):
            images, labels = photos(120, seed, (49, 10), 4)
            np.savez(f"{name}.npz", x=images, y=labels)
        np.save("x.npy", photos(20, 5)[0])
        np.save("y.npy", photos(20, 5)[1])
        artifact = edgeopt.convert(model, calibration="train.npz")
        for extra, name in enumerate(
            ("base", "pruned", "a", "b", "c"), 1
        ):  # files of their own to the eye of `compare`
            Path(f"{name}.tflite").write_bytes(artifact.model + bytes(1000 * extra))
        artifact.save("model_int8.tflite")
        short = ["--seconds", "0.2", "--processes", "1"]
        assert main(["validate", "model_int8.tflite", "--data", "test.npz", *short, "--json", "validation.json"]) == 0
        assert main(["bench", "model_int8.tflite", *short, "--json", "bench.json"]) == 0
        parity = ["parity", "model_int8.tflite", "--device", "local", "--data", "test.npz", "--json", "parity.json"]
        assert main(parity) == 0
        fine = {"pass": [{"kind": "finetune", "epochs": 1}]}
        edgeopt.optimize(
            model,
            fine,
            train="train.npz",
            validation="test.npz",
            output="fast/",
            bench=BenchPlan(min_seconds=0.1, max_seconds=0.2, processes=1),
        )
        for name in ("report.json", "validation_a.json", "validation_b.json"):
            shutil.copy("validation.json", name)
    return folder
