"""Photos to a judged int8 file and a report: `python image_folder.py PHOTOS`, where PHOTOS has train/ and test/."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import keras

import edgeopt

SIZE = (32, 32)


def trained(folder: Path, epochs: int) -> keras.Model:
    """Train a small classifier; the scaling is in the model, so that the file takes photos as they are."""
    photos = keras.utils.image_dataset_from_directory(folder, image_size=SIZE, batch_size=16, seed=0)
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3), name="photo"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(photos.class_names), activation="softmax", name="scores"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(photos, epochs=epochs, verbose=0)
    return model


def main() -> None:
    """Train, convert, judge, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--device", default="local", help="a board that `edgeopt devices add` named")
    options = parser.parse_args()

    model = trained(options.photos / "train", options.epochs)
    file = edgeopt.convert(model, calibration=str(options.photos / "train"), image_size=SIZE).save("photos_int8.tflite")
    budget = edgeopt.Budget(max_drop=0.05)
    judged = edgeopt.validate(
        file, data=str(options.photos / "test"), baseline=model, budget=budget, device=options.device
    )
    print(judged)
    Path("validation.json").write_text(json.dumps(judged.to_dict()))
    edgeopt.report([file, "validation.json"]).save("report.html", force=True)
    judged.raise_for_budget()


if __name__ == "__main__":
    main()
