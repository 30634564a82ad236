"""Operators that copy integers get them in their output's scale."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters import rewrite
from edgeopt.flatbuffer import read_model

IMAGES = np.random.default_rng(0).normal(size=(40, 4, 3)).astype(np.float32)


def flipped_beside_larger_values():
    """Concatenation gives the flipped values the other branch's larger scale; tanh's own is fixed at 1/128."""
    import keras

    x = keras.Input((4, 3), name="x")
    flipped = keras.ops.flip(keras.ops.tanh(x), axis=1)
    return keras.Model(x, keras.layers.Concatenate(axis=1, name="y")([flipped, x * 1.5]))


def worst(running, artifact):
    run = running(artifact.model)
    found = np.concatenate([run.real({"x": sample[None]})[0] for sample in IMAGES])
    expected = np.concatenate([np.tanh(IMAGES)[:, ::-1], IMAGES * 1.5], axis=1)
    return float(np.abs(found - expected).max()), artifact.sidecar["outputs"][0]["scale"]


def test_a_flip_into_another_scale_keeps_its_values(running):
    artifact = edgeopt.convert(flipped_beside_larger_values(), calibration=IMAGES, isolate=False)
    names = [operator.name for operator in read_model(artifact.model).main.operators]
    assert names[names.index("REVERSE_V2") - 1] == "QUANTIZE"
    error, scale = worst(running, artifact)
    # Roundings: of the input, amplified 1.5 times; of the product or of tanh; and of the output.
    assert error < 2.5 * scale


def test_without_it_the_values_are_wrong(running, monkeypatch):
    monkeypatch.setattr(rewrite, "requantise_copies", lambda _tree: 0)
    error, scale = worst(running, edgeopt.convert(flipped_beside_larger_values(), calibration=IMAGES, isolate=False))
    assert error > 10 * scale, "TensorFlow quantises REVERSE_V2 rightly now: the rewrite can go"


@pytest.mark.parametrize("quantize", ["float32", "dynamic"])
def test_files_without_quantised_activations_are_left_alone(quantize):
    artifact = edgeopt.convert(flipped_beside_larger_values(), quantize=quantize, isolate=False)
    assert "QUANTIZE" not in artifact.sidecar["ops"]
