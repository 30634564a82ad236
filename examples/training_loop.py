"""Your own training loop around a pass of edgeopt's, and the file scored while it runs: `python training_loop.py`."""

from __future__ import annotations

import keras
import numpy as np

import edgeopt
from edgeopt.passes.qat import Qat
from edgeopt.training import PassContext, Training

LOSS = "sparse_categorical_crossentropy"


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of 8x8 of three classes, told by which columns are bright; put your data here."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    made = random.uniform(0, 0.6, (count, 8, 8, 1))
    for label in range(3):
        made[labels == label, :, 3 * label : 3 * label + 2] += 0.4
    return made.astype(np.float32), labels


def main() -> None:
    """Train with the file's accuracy in the history, then for 8 bits, then by your loop again."""
    x, y = pictures(300, 0)
    test = pictures(150, 1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="picture"),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    model.compile("adam", LOSS)
    watch = edgeopt.callbacks.TFLiteEvaluation(every=3, data=test, calibration=x)
    model.fit(x, y, epochs=3, callbacks=[watch], verbose=0)
    print(watch.history)

    qat_model = Qat(training=Training(epochs=1)).apply(model, PassContext(train=(x, y), loss=LOSS)).exported
    qat_model.compile("adam", LOSS)
    qat_model.fit(x, y, epochs=1, verbose=0)
    artifact = edgeopt.convert(qat_model)  # its ranges are in it
    print(edgeopt.validate(artifact, data=test, baseline=model))
    artifact.save("trained_int8.tflite")


if __name__ == "__main__":
    main()
