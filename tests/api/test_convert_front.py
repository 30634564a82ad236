"""A file that begins at a layer: the front is cut off, kept in the sidecar, and done by the snippet in Python."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

import edgeopt
from edgeopt.artifact.snippet import inference_snippet
from edgeopt.devices.agent.front import run_steps
from edgeopt.devices.bench import bench_plan
from edgeopt.errors import RecipeError, UsageError
from edgeopt.models.load import describe
from edgeopt.models.rewrite.front import beginnings, cut_front

COUNT = 24
RANDOM = np.random.default_rng(0)
RAW = {
    "colour": RANDOM.choice(["red", "green", "blue", "odd"], (COUNT, 1)),
    "code": RANDOM.choice([10, 20, 30, 7], (COUNT, 1)),
    "size": RANDOM.normal(3, 2, (COUNT, 3)).astype("float32"),
    "plain": RANDOM.normal(0, 1, (COUNT, 4)).astype("float32"),
}
BEGINNING = ("embedding", "joined")


def table(keras):
    """Four columns, as they are read: text, codes, numbers to be normalised, numbers."""
    layers = keras.layers
    colour, code = (keras.Input((1,), dtype=kind, name=n) for n, kind in (("colour", "string"), ("code", "int64")))
    size, plain = keras.Input((3,), name="size"), keras.Input((4,), name="plain")
    words = layers.StringLookup(vocabulary=["red", "green", "blue"], name="words")(colour)
    vectors = layers.Flatten(name="flat")(layers.Embedding(4, 3, name="embedding")(words))
    codes = layers.IntegerLookup(vocabulary=[10, 20, 30], name="codes")(code)
    parts = [
        vectors,
        layers.CategoryEncoding(4, output_mode="one_hot", name="one_hot")(codes),
        layers.StringLookup(vocabulary=["red", "blue"], output_mode="multi_hot", name="either")(colour),
        layers.Normalization(mean=[3.0, 2.0, 1.0], variance=[4.0, 1.0, 0.25], name="normalised")(size),
        layers.Flatten(name="bins")(layers.Discretization([1.0, 3.0], output_mode="int", name="binned")(size)),
        plain,
    ]
    parts[4] = layers.Rescaling(0.5, 1.0, name="scaled")(parts[4])
    joined = layers.Concatenate(name="joined")(parts)
    return keras.Model([colour, code, size, plain], layers.Dense(2, name="price")(joined))


def given_to(model, values):
    import tensorflow as tf

    tensors = [tf.constant(values[name]) for name in ("colour", "code", "size", "plain")]
    return np.asarray(model(tensors))


def test_both_parts_compute_what_the_model_does_and_the_python_what_the_front_does(any_keras):
    model = table(any_keras)
    assert sorted(beginnings(model)) == ["bins", *BEGINNING]
    cut = cut_front(model, BEGINNING)
    assert cut.proven(RAW) and cut.unknown == ()
    made = {**RAW, **cut.run(RAW)}
    names = [item.name for item in describe(cut.rest).spec.inputs]
    assert names[0] == "plain" and sorted(names[1:]) == ["either", "normalised", "one_hot", "scaled", "words"]
    np.testing.assert_allclose(np.asarray(cut.rest([made[name] for name in names])), given_to(model, RAW), atol=1e-6)
    # Planted: a vocabulary in another order is seen.
    next(step for step in cut.steps if step["layer"] == "words")["vocabulary"].reverse()
    assert not cut.proven(RAW)


@pytest.mark.heavy
def test_the_snippet_runs_the_front_and_gives_what_the_model_gives(any_keras, tmp_path):
    model = table(any_keras)
    artifact = edgeopt.convert(model, calibration=RAW, calibration_samples=COUNT, isolate=False, from_layer=BEGINNING)
    front = artifact.sidecar["front"]
    assert artifact.sidecar["fully_int8"] and front["tried_on_samples"] == COUNT
    assert [item["name"] for item in front["inputs"]] == ["colour", "code", "size"]
    assert run_steps(front["layers"], RAW)["words"].max() == 3
    artifact.save(tmp_path / "m.tflite")
    np.savez(tmp_path / "inputs.npz", **{name: array[:1] for name, array in RAW.items()})
    text = inference_snippet("m.tflite", artifact.sidecar)
    text, count = re.subn(r"^(\w+) = np\.(zeros|full)\(\(.*$", r"\1 = np.load('inputs.npz')['\1']", text, flags=re.M)
    assert count == 4
    text += "np.save('price.npy', price)\n"
    subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = given_to(model, {name: array[:1] for name, array in RAW.items()})
    step = artifact.sidecar["outputs"][0]["scale"]
    # Two operators in a row, on inputs that are rounded themselves.
    assert np.abs(np.load(tmp_path / "price.npy") - expected).max() <= 4 * step
    prices = given_to(model, RAW)
    report = edgeopt.validate(
        tmp_path / "m.tflite", data=({**RAW}, prices), metric="mae", baseline=model, bench=bench_plan(runs=9)
    )
    assert report.score <= 4 * step and report.to_dict()["baseline_metric"] < 1e-5


def test_data_of_the_files_own_inputs_are_taken_as_they_are():
    import keras

    model = table(keras)
    cut = cut_front(model, BEGINNING)
    data = {**cut.run(RAW), "plain": RAW["plain"]}
    artifact = edgeopt.convert(
        model, calibration=data, calibration_samples=COUNT, isolate=False, fidelity=False, from_layer=BEGINNING
    )
    assert artifact.sidecar["front"]["tried_on_samples"] == 0


def test_what_is_not_known_as_python_is_left_to_the_reader_of_the_data():
    import keras

    given = keras.Input((1,), dtype="string", name="given")
    hashed = keras.layers.Hashing(8, name="hashed")(given)
    x = keras.layers.Flatten()(keras.layers.Embedding(8, 4, name="embedding")(hashed))
    model = keras.Model(given, keras.layers.Dense(2, name="end")(x))
    data = {"given": RAW["colour"]}
    artifact = edgeopt.convert(model, calibration=data, isolate=False, fidelity=False, from_layer="embedding")
    assert artifact.sidecar["front"]["unknown"] == [{"layer": "hashed", "class": "Hashing"}]
    assert any(line.startswith("front: ") and "'hashed' (Hashing)" in line for line in artifact.sidecar["warnings"])
    assert "run_steps" not in inference_snippet("m.tflite", artifact.sidecar)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["embeding"], "--from-layer names 'embeding', which is no layer of the model; did you mean 'embedding'"),
        (["words"], "in front of which the model has no layer"),
    ],
)
def test_a_place_that_is_none_is_refused(names, message):
    import keras

    with pytest.raises(UsageError, match=message):
        cut_front(table(keras), names)


def test_names_are_a_list():
    with pytest.raises(RecipeError, match="from_layer is 3; expected the name of a layer"):
        edgeopt.convert("model.keras", from_layer=3)
