"""What a model does to a picture before its first convolution is folded into that, where it is the same."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.outputs import file_outputs
from edgeopt.converters.repairs.change import computes_the_same
from edgeopt.converters.repairs.pictures import fold_into_convolution
from edgeopt.flatbuffer import read_model

PICTURES = np.random.default_rng(0).integers(0, 256, size=(200, 12, 12, 3)).astype(np.float32)
AFFINE = {"ADD", "SUB", "MUL", "DIV"}


def model(keras, *, channels=True, padding="same", depthwise=False, spread=1.1):
    """Scaled to [0, 1], then normalised by channel or as one, in front of a convolution and a few layers."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    if channels:
        deviation = 0.2 * np.array([1, 1, spread])
        first = [layers.Rescaling(1 / 255), layers.Normalization(mean=[0.5, 0.4, 0.3], variance=deviation**2)]
    else:
        first = [layers.Rescaling(1 / 127.5, offset=-1)]
    kind = layers.DepthwiseConv2D(3, depth_multiplier=2, padding=padding, bias_initializer="random_normal")
    convolution = kind if depthwise else layers.Conv2D(8, 3, strides=2, padding=padding, activation="relu")
    tail = [convolution, layers.GlobalAveragePooling2D(), layers.Dense(4, name="scores")]
    return keras.Sequential([keras.Input((12, 12, 3), name="picture"), *first, *tail])


def operators(content):
    return [operator.name for operator in read_model(content).main.operators]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"padding": "valid"}, []),
        ({"padding": "valid", "depthwise": True}, []),
        ({"padding": "same"}, ["ADD"]),
        ({"padding": "same", "depthwise": True}, ["ADD"]),
        ({"padding": "same", "channels": False}, ["ADD"]),
    ],
)
def test_only_an_addition_in_front_of_a_padded_border_stays(any_keras, options, left):
    content = edgeopt.convert(model(any_keras, **options), quantize="float32", isolate=False).model
    samples = {"picture": PICTURES[:16]}
    change = fold_into_convolution(content, samples)
    found = operators(change.content)
    assert found == operators(change.proof)
    assert found[: found.index(next(name for name in found if "CONV" in name))] == left
    assert computes_the_same(content, change.proof, samples)
    # Pictures of another shift are no longer the same.
    [one], [other] = (
        file_outputs(c, {"picture": x}).values()
        for c, x in ((content, PICTURES[:16]), (change.proof, PICTURES[:16] + 9))
    )
    assert np.abs(one - other).max() > 1e-2


@pytest.mark.parametrize("options", [{"spread": 50.0}, {"channels": False, "padding": "valid"}])
def test_factors_far_apart_and_what_the_converter_folded_are_left_alone(any_keras, options):
    content = edgeopt.convert(model(any_keras, **options), quantize="float32", isolate=False).model
    assert fold_into_convolution(content, {}) is None


@pytest.mark.parametrize(("offset", "first"), [(0.0, ["PAD", "CONV_2D"]), (-1.0, ["ADD", "PAD", "CONV_2D"])])
def test_zeros_that_are_put_around_a_prepared_picture_are_looked_through(offset, first):
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    padded = [layers.Rescaling(1 / 127.5, offset=offset), layers.ZeroPadding2D(((2, 0), (1, 1)))]
    tail = [layers.Conv2D(8, 3, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(4)]
    net = keras.Sequential([keras.Input((12, 12, 3), name="picture"), *padded, *tail])
    content = edgeopt.convert(net, quantize="float32", isolate=False).model
    change = fold_into_convolution(content, {"picture": PICTURES[:16]})
    assert operators(change.content)[: len(first)] == first
    assert computes_the_same(content, change.proof, {"picture": PICTURES[:16]})
    bright = PICTURES * np.linspace(0.2, 1, len(PICTURES), dtype=np.float32)[:, None, None, None]
    before, after = (edgeopt.convert(net, calibration=bright, repair=on, isolate=False) for on in (False, True))
    assert after.fully_int8 and operators(after.model)[: len(first)] == first
    # The addition's result, 127.5 below the picture, lies between two steps.
    assert after.fidelity.snr_db > before.fidelity.snr_db - (1.5 if offset else 0.2) and after.fidelity.snr_db > 30


def test_the_file_has_the_same_contract_and_no_operator_on_the_picture(any_keras):
    before, after = (
        edgeopt.convert(model(any_keras, padding="valid"), calibration=PICTURES, repair=repair, isolate=False)
        for repair in (False, True)
    )
    assert operators(before.model)[:3] == ["MUL", "SUB", "MUL"]
    assert not AFFINE & set(operators(after.model)) and after.fully_int8
    assert before.sidecar["inputs"] == after.sidecar["inputs"]
    assert [(i["name"], i["shape"], i["dtype"]) for i in before.sidecar["outputs"]] == [
        (i["name"], i["shape"], i["dtype"]) for i in after.sidecar["outputs"]
    ]
    assert after.fidelity.snr_db > before.fidelity.snr_db - 1 and after.fidelity.snr_db > 30
    [repair] = after.sidecar["repairs"]
    assert repair["kind"] == "picture" and "3 of 3 operators" in repair["detail"]
