"""What scales and shifts behind a Concatenate goes in front of it, where that gives its inputs scales of their own."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.outputs import file_outputs
from edgeopt.converters.repairs.joins import affine_before_joins
from edgeopt.flatbuffer import read_model

RNG = np.random.default_rng(0)
NARROW = RNG.uniform(-2, 2, size=(200, 3)).astype(np.float32)
WIDE = (1e4 * RNG.uniform(-2, 2, size=(200, 4)) + 3e4).astype(np.float32)
SAMPLES = {"narrow": NARROW, "wide": WIDE}


def joined(keras, wide=1e4, behind=None):
    """Two inputs of different spans, joined, and then normalised."""
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((3,), name="narrow"), keras.Input((4,), name="wide")]
    x = keras.layers.Concatenate(name="join")(inputs)
    normal = keras.layers.Normalization(mean=[0.0] * 3 + [3 * wide] * 4, variance=[1.0] * 3 + [wide**2] * 4, name="n")
    x = (behind or normal)(x)
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dense(16, activation="relu")(x)))


def contract(artifact):
    """Names, shapes and types of inputs and outputs, in order."""
    ends = (artifact.sidecar[end] for end in ("inputs", "outputs"))
    return [[(item["name"], item["shape"], item["dtype"]) for item in end] for end in ends]


def test_each_input_gets_its_own_scale(any_keras):
    model = joined(any_keras)
    files = {
        repair: edgeopt.convert(model, calibration=SAMPLES, repair=repair, edges="int8", isolate=False)
        for repair in (False, True)
    }
    assert files[False].fidelity.snr_db < 5 and files[True].fidelity.snr_db > 35
    assert files[True].fully_int8 and files[True].warnings == ()
    [repair] = files[True].sidecar["repairs"]
    assert (repair["kind"], *repair["layers"]) == ("joined", "n")
    assert contract(files[False]) == contract(files[True])


def test_the_float_file_computes_the_same_to_the_bit(any_keras):
    content = edgeopt.convert(joined(any_keras), quantize="float32", isolate=False).model
    change = affine_before_joins(content, SAMPLES)
    names = [operator.name for operator in read_model(change.content).main.operators]
    assert names[:3] == ["SUB", "MUL", "CONCATENATION"]  # (x - 0) * 1 of the narrow input is left out
    for before, after in zip(*(file_outputs(c, SAMPLES).values() for c in (content, change.content)), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("why", ["alike", "not affine"])
def test_what_gains_nothing_is_left_alone(any_keras, why):
    layers = any_keras.layers
    model = joined(any_keras, wide=1.0) if why == "alike" else joined(any_keras, behind=layers.ReLU())
    content = edgeopt.convert(model, quantize="float32", isolate=False).model
    samples = {"narrow": NARROW, "wide": WIDE / 1e4} if why == "alike" else SAMPLES
    assert affine_before_joins(content, samples) is None
