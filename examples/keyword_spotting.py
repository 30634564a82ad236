"""A keyword spotter to an int8 file: `python keyword_spotting.py words.npz words_test.npz`, features `x`, words `y`."""

from __future__ import annotations

import argparse

import keras
import numpy as np

import edgeopt


def network(words: int) -> keras.Model:
    """Return a small network of depthwise-separable convolutions, for 49 frames by 10 coefficients."""
    inputs = keras.Input((49, 10, 1), name="features")
    hidden = keras.layers.Conv2D(16, (10, 4), strides=2, padding="same", use_bias=False)(inputs)
    hidden = keras.layers.ReLU()(keras.layers.BatchNormalization()(hidden))
    for _ in range(2):
        hidden = keras.layers.SeparableConv2D(16, 3, padding="same", use_bias=False)(hidden)
        hidden = keras.layers.ReLU()(keras.layers.BatchNormalization()(hidden))
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)
    return keras.Model(inputs, keras.layers.Dense(words, activation="softmax", name="word")(hidden))


def main() -> None:
    """Train, convert, and hold the file against the model on other speakers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()

    words = np.load(options.train)
    model = network(int(words["y"].max()) + 1)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(words["x"], words["y"], epochs=options.epochs, verbose=0)
    artifact = edgeopt.convert(model, calibration=options.train)
    print(edgeopt.inspect(artifact))
    print(edgeopt.validate(artifact, data=options.test, baseline=model))
    artifact.save("words_int8.tflite")


if __name__ == "__main__":
    main()
