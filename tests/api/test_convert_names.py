"""Names and order of inputs and outputs in the file are the Keras model's, and data go to the input of their name."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

import edgeopt
from edgeopt.flatbuffer import read_model

GENERATOR = np.random.default_rng(0)
ZEBRA = GENERATOR.uniform(-1, 1, size=(30, 4)).astype(np.float32)
APPLE = 100 * GENERATOR.uniform(-1, 1, size=(30, 4)).astype(np.float32)


def file_names(running, content):
    """What an interpreter reports, by tensor and by signature index order."""
    run = running(content)
    signature = read_model(content).signatures[0]
    main = read_model(content).main
    assert [signature.inputs[name] for name in run.input_names] == list(main.inputs)
    assert sorted(signature.outputs.values()) == sorted(set(main.outputs))
    return run.input_names, run.output_names


def two_by_two(keras, structure=list):
    layers = keras.layers
    zebra, apple = keras.Input((4,), name="zebra"), keras.Input((4,), name="apple")
    total = layers.Add(name="total")([zebra, apple])
    zoom = layers.Dense(3, name="zoom")(zebra)
    if structure is list:
        return keras.Model([zebra, apple], [zoom, total])
    return keras.Model(structure([("zebra", zebra), ("apple", apple)]), structure([("zz", zoom), ("tt", total)]))


@pytest.mark.smoke
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_two_inputs_of_one_shape_named_against_the_alphabet(any_keras, running, mode):
    model = two_by_two(any_keras)
    data = {"apple": APPLE, "zebra": ZEBRA} if mode == "int8" else None  # in another order than the model's
    artifact = edgeopt.convert(model, calibration=data, calibration_samples=30, quantize=mode, isolate=False)
    assert file_names(running, artifact.model) == (["zebra", "apple"], ["zoom", "total"])
    assert [item["name"] for item in artifact.sidecar["inputs"]] == ["zebra", "apple"]
    assert [item["name"] for item in artifact.sidecar["outputs"]] == ["zoom", "total"]
    feeds = {"zebra": ZEBRA[:1], "apple": APPLE[:1]}
    zoom, total = running(artifact.model).real(feeds)
    expected = [np.asarray(value) for value in model([ZEBRA[:1], APPLE[:1]])]
    # int8: one layer each; half a step of input, weight and output, of 255 to the range, about 1 %.
    share = 0.012 if mode == "int8" else 1e-6
    np.testing.assert_allclose(zoom, expected[0], rtol=0, atol=share * 4)
    np.testing.assert_allclose(total, expected[1], rtol=0, atol=share * 200)
    if mode == "int8":
        scales = {name: item["quantization"][0] for name, item in running(artifact.model).inputs.items()}
        # Bound by position, each would have the other's scale.
        assert scales["zebra"] == pytest.approx(np.ptp(ZEBRA) / 255, rel=0.02)
        assert scales["apple"] == pytest.approx(np.ptp(APPLE) / 255, rel=0.02)


@pytest.mark.parametrize("structure", [dict, OrderedDict])
def test_inputs_and_outputs_in_dicts(any_keras, running, structure):
    model = two_by_two(any_keras, structure)
    artifact = edgeopt.convert(model, quantize="float32", isolate=False)
    ordered = structure is OrderedDict and any_keras.__name__ == "keras"
    expected = (["zebra", "apple"], ["zz", "tt"]) if ordered else (["apple", "zebra"], ["tt", "zz"])
    assert file_names(running, artifact.model) == expected
    found = dict(zip(expected[1], running(artifact.model).real({"zebra": ZEBRA[:1], "apple": APPLE[:1]}), strict=True))
    np.testing.assert_allclose(found["tt"], ZEBRA[:1] + APPLE[:1], rtol=1e-6)


@pytest.mark.smoke
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_eleven_outputs_keep_their_order(any_keras, running, mode):
    names = [f"h{number}" for number in range(11, 0, -1)]
    x = any_keras.Input((4,), name="x")
    model = any_keras.Model(x, [any_keras.layers.Rescaling(i + 2.0, name=name)(x) for i, name in enumerate(names)])
    data = ZEBRA if mode == "int8" else None
    artifact = edgeopt.convert(model, calibration=data, calibration_samples=30, quantize=mode, isolate=False)
    assert file_names(running, artifact.model) == (["x"], names)
    run = running(artifact.model)
    for i, (value, step) in enumerate(zip(run.real({"x": ZEBRA[:1]}), run.steps(), strict=True)):
        # The input is off by half its step, which the factor multiplies, and the output rounds once.
        np.testing.assert_allclose(value, (i + 2) * ZEBRA[:1], rtol=1e-6, atol=(i + 2) * 1 / 255 + step)


def test_an_input_passed_through_and_an_output_given_twice(any_keras, running):
    x, z = any_keras.Input((4,), name="x"), any_keras.Input((4,), name="z")
    dense = any_keras.layers.Dense(4, name="d")
    model = any_keras.Model([z, x], [dense(x), x, dense(x), dense(z)])
    artifact = edgeopt.convert(model, quantize="float32", isolate=False)
    found = running(artifact.model).real({"x": ZEBRA[:1], "z": APPLE[:1]})
    expected = model([APPLE[:1], ZEBRA[:1]])
    for value, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-5, atol=1e-5)


def test_a_saved_model_keeps_the_order_of_its_keras_model(any_keras, running, tmp_path):
    model = two_by_two(any_keras)
    folder = str(tmp_path / "saved")
    keras3 = any_keras.__name__ == "keras"
    model.export(folder, verbose=False) if keras3 else model.save(folder)
    artifact = edgeopt.convert(
        folder, calibration={"apple": APPLE, "zebra": ZEBRA}, calibration_samples=30, isolate=False
    )
    outputs = ["output_0", "output_1"] if keras3 else ["zoom", "total"]
    assert file_names(running, artifact.model) == (["zebra", "apple"], outputs)
    direct = edgeopt.convert(model, calibration={"apple": APPLE, "zebra": ZEBRA}, calibration_samples=30, isolate=False)
    for mine, other in zip(
        running(artifact.model).stored({"zebra": ZEBRA[:1], "apple": APPLE[:1]}),
        running(direct.model).stored({"zebra": ZEBRA[:1], "apple": APPLE[:1]}),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, other)


def test_a_subclassed_model_takes_the_stated_names(any_keras, running):
    class Difference(any_keras.Model):
        def call(self, zebra, apple):
            return {"up": zebra - apple, "down": apple - zebra}

    shapes = {"apple": (1, 4), "zebra": (1, 4)}
    artifact = edgeopt.convert(Difference(), quantize="float32", input_shapes=shapes, isolate=False)
    assert file_names(running, artifact.model) == (["zebra", "apple"], ["down", "up"])
    down, up = running(artifact.model).real({"zebra": ZEBRA[:1], "apple": APPLE[:1]})
    np.testing.assert_array_equal(up, ZEBRA[:1] - APPLE[:1])
    np.testing.assert_array_equal(down, -up)


def test_data_of_two_inputs_cross_to_the_child_by_name(tmp_path):
    """From a file, with unnamed arrays of two shapes, in memory: they are bound in the child, after loading."""
    import keras

    left, right = keras.Input((4,), name="file"), keras.Input((3,), name="right")  # "file" trips a naive savez
    both = [keras.layers.Dense(5)(left), keras.layers.Dense(5)(right)]  # CONCATENATION would force one scale upon them
    keras.Model([left, right], keras.layers.Add(name="all")(both)).save(tmp_path / "m.keras")
    for data in ([ZEBRA, APPLE[:, :3]], {"right": APPLE[:, :3], "file": ZEBRA}):
        artifact = edgeopt.convert(tmp_path / "m.keras", calibration=data, calibration_samples=30, isolate=False)
        assert [item["name"] for item in artifact.sidecar["inputs"]] == ["file", "right"]
        scales = [item["scale"] for item in artifact.sidecar["inputs"]]
        assert scales[1] > 20 * scales[0]
