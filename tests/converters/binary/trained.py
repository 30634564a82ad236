"""Makes a small binary network: python trained.py FOLDER. A process of its own, whose tf.keras is Keras 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import larq
import numpy as np
import tf_keras

import edgeopt
from edgeopt.passes.binarize import Binarize
from edgeopt.training import PassContext, Training


def main(folder: Path) -> None:
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    image = layers.Input((12, 12, 3), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="first")(image)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="second")(x)
    x = layers.ReLU(name="rectified")(layers.BatchNormalization(name="norm")(layers.Conv2D(32, 3, name="third")(x)))
    scores = layers.Dense(4, activation="softmax", name="scores")(layers.GlobalAveragePooling2D()(x))
    model = tf_keras.Model(image, scores)
    generator = np.random.default_rng(0)
    patterns, labels = generator.normal(size=(4, 12, 12, 3)), generator.integers(0, 4, 192)
    pictures = (patterns[labels] + generator.normal(size=(192, 12, 12, 3))).astype(np.float32)
    context = PassContext(train=(pictures, labels), loss="sparse_categorical_crossentropy")
    training = Training(epochs=3, batch_size=16, learning_rate=3e-3)
    before = [weight.tobytes() for weight in model.get_weights()]
    result = Binarize(training=training, skip=("third",)).apply(model, context)
    every = Binarize(training=Training(epochs=6, batch_size=16, learning_rate=3e-3)).apply(model, context)
    every.model.save(folder / "binary.h5")
    (folder / "binary.tflite").write_bytes(edgeopt.convert(every.model, quantize="float32", isolate=False).model)
    np.savez(folder / "data.npz", x=pictures, y=every.model.predict(pictures, verbose=0).argmax(axis=1), real=labels)
    with larq.context.quantized_scope(True):
        weights = every.model.get_layer("second").get_weights()[0]
    told = {
        "untouched": before == [weight.tobytes() for weight in model.get_weights()],
        "partly": result.report.to_dict(),
        "all": every.report.to_dict(),
        "kinds": {layer.name: type(layer).__name__ for layer in every.model.layers},
        "magnitudes": [len(np.unique(np.abs(weights[..., channel]).round(6))) for channel in range(32)],
    }
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
