"""``edges="prepared"``: int8 throughout, with the model's own data and results wherever the file is used."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest

import edgeopt
from edgeopt.api.bench import bench
from edgeopt.api.parity import parity
from edgeopt.artifact.contract import Contract
from edgeopt.artifact.snippet import inference_snippet
from edgeopt.converters.outputs import file_outputs
from edgeopt.devices.agent.front import run_steps
from edgeopt.devices.bench import bench_plan
from edgeopt.devices.pack import pack_agent
from edgeopt.errors import DataError, FileFormatError, RecipeError, UsageError
from edgeopt.passes.qat import Qat
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

RANDOM = np.random.default_rng(0)
SPANS = np.array([1e-3, 1e-2, 0.1, 1, 1, 10, 100, 4000], np.float32)
RAW = (RANDOM.normal(size=(160, 8)) * SPANS).astype(np.float32)


def model_of(keras):
    """Eight raw features that the model normalises itself; pixels of a box, and scores, in one output."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    features = keras.Input((8,), name="features")
    normal = layers.Normalization(mean=SPANS / 10, variance=SPANS**2, name="normalise")(features)
    hidden = layers.Dense(16, activation="relu")(layers.Reshape((8,), name="shaped")(normal))
    boxes = layers.Rescaling(100.0, name="boxes")(layers.Dense(4)(hidden))
    scores = layers.Dense(3, activation="sigmoid", name="scores")(hidden)
    return keras.Model(features, layers.Concatenate(name="found")([boxes, scores]))


def converted(model, data=RAW, **options):
    return edgeopt.convert(model, calibration=data, isolate=False, **{"edges": "prepared", **options})


def test_the_file_is_int8_and_takes_and_gives_parts_that_have_a_scale_each(any_keras):
    artifact = converted(model_of(any_keras))
    assert artifact.fully_int8 and len(artifact.warnings) == 1  # that these are few samples
    assert [item["name"] for item in artifact.sidecar["inputs"]] == ["normalise"]
    assert [item["name"] for item in artifact.sidecar["outputs"]] == ["boxes", "scores"]
    assert artifact.fidelity.snr_db > 30  # of each part; 0 dB with one scale for all features
    front, back = artifact.sidecar["front"], artifact.sidecar["back"]
    assert [step["class"] for step in front["layers"]] == ["Normalization"] and front["tried_on_samples"] == 64
    assert (back["outputs"], [step["inputs"] for step in back["layers"]]) == (["found"], [["boxes", "scores"]])


def plain(keras, case):
    """Models without a layer that normalises: the weights do, or bare operations."""
    keras.utils.set_random_seed(0)
    layers, rows = keras.layers, RANDOM.normal(size=(8, 16)).astype(np.float32)
    features = keras.Input((8,), name="features")
    first = layers.Dense(16, activation="relu", name="first")
    if case == "operations":
        hidden = first((features - SPANS / 10) / SPANS)
        parts = [layers.Dense(4, name="boxes")(hidden) * 100.0, layers.Dense(3, activation="sigmoid")(hidden)]
        join = keras.ops.concatenate if keras.__name__ == "keras" else importlib.import_module("tensorflow").concat
        return keras.Model(features, join(parts, -1))
    hidden = first(features)
    first.set_weights([rows / SPANS[:, np.newaxis] / 3, np.zeros(16, np.float32)])
    head = layers.Dense(3, name="head", use_bias=False)
    given = head(hidden)
    head.set_weights([head.get_weights()[0] * np.array([1, 300, 0.02], np.float32)])
    return keras.Model(features, given)


@pytest.mark.parametrize("case", ["weights", "operations"])
def test_what_no_layer_normalises_is_scaled_in_front_and_behind(any_keras, case):
    model = plain(any_keras, case)
    artifact = converted(model)
    sidecar, expected = artifact.sidecar, np.asarray(model(RAW))
    assert artifact.fully_int8 and sidecar["front"]["tried_on_samples"] == 64
    made = run_steps(sidecar["front"]["layers"], {"features": RAW})
    given = {item["name"]: made[item["name"]] for item in sidecar["inputs"]}
    found = run_steps(sidecar["back"]["layers"], file_outputs(artifact.model, given))[sidecar["back"]["outputs"][0]]
    moved = expected - expected.mean(axis=0)
    noise = np.sum((found - expected) ** 2, axis=0) / np.sum(moved**2, axis=0)
    assert np.all(-10 * np.log10(noise) > 22)  # of each column; 0 dB and less with one scale
    if case == "weights":
        assert [item["name"] for item in sidecar["inputs"]] == ["features_scaled"]
        assert [item["name"] for item in sidecar["outputs"]] == ["head_scaled"]


def test_windows_that_are_padded_are_scaled_about_zero():
    import keras

    keras.utils.set_random_seed(0)
    x, conv = keras.Input((10, 8), name="x"), keras.layers.Conv1D(4, 3, padding="same", name="conv")
    flat = keras.layers.Flatten()(conv(x))
    conv.set_weights([conv.get_weights()[0] / SPANS[:, np.newaxis], np.ones(4, np.float32)])
    windows = (RANDOM.normal(size=(60, 10, 8)) * SPANS).astype(np.float32)
    artifact = converted(keras.Model(x, keras.layers.Dense(2)(flat)), windows)
    (step,) = artifact.sidecar["front"]["layers"]
    assert (step["shift"], step["offset"]) == (0.0, [0.0] * 8) and artifact.fidelity.snr_db > 25


def test_a_model_trained_quantised_keeps_its_ends_and_that_is_said(any_keras):
    model = any_keras.Sequential([any_keras.Input((8,), name="x"), any_keras.layers.Dense(3, name="out")])
    trained = Qat(training=Training(epochs=1)).apply(model, PassContext(train=(RAW, RAW[:, :3]), loss="mse"))
    artifact = converted(trained.exported, None)
    assert artifact.warnings[0].startswith("edges: 'prepared' was asked for, but the model was trained quantised")
    assert (artifact.sidecar["front"], artifact.sidecar["back"]) == (None, None)


def test_what_one_scale_serves_stays_in_the_file_and_that_is_said():
    import keras

    x = keras.Input((8,), name="x")
    scaled = keras.layers.Rescaling(0.5, offset=0.1)(x)
    parts = [keras.layers.Dense(4, activation="sigmoid")(scaled) for _ in range(2)]
    artifact = converted(keras.Model(x, keras.layers.Concatenate()(parts)), RAW / SPANS)
    assert (artifact.sidecar["front"], artifact.sidecar["back"]) == (None, None)
    assert artifact.warnings[0].startswith("edges: 'prepared' was asked for, but no input")


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """The file with its sidecar in a folder, and what its model gives for the raw samples."""
    import keras

    folder, model = tmp_path_factory.mktemp("used"), model_of(keras)
    converted(model).save(folder / "m.tflite")
    np.save(folder / "x.npy", RAW)
    np.save(folder / "y.npy", np.asarray(model(RAW)))
    return folder, model, np.asarray(model(RAW))


def near(found, expected):
    """Whether boxes and scores are those of the model up to two of their own steps (an input's, and the output's)."""
    steps = np.where(np.arange(7) < 4, np.ptp(expected[:, :4]) / 255, 1 / 256)
    return np.all(np.abs(found - expected) <= 4 * steps)


def test_validate_bench_and_parity_take_what_the_model_takes_and_give_what_it_gives(used):
    folder, model, expected = used
    report = edgeopt.validate(
        folder / "m.tflite", data=(RAW, expected), metric="mae", baseline=model, bench=bench_plan(runs=9)
    )
    fields = report.to_dict()
    assert 0 < report.score < np.ptp(expected[:, :4]) / 255 and fields["baseline_metric"] < 1e-4
    assert fields["baseline_fidelity"]["outputs"][0]["name"] == "found"
    assert report.overlap.count == len(RAW)  # known again, though they are prepared
    # A compiled file has its source's ends.
    (folder / "m_edgetpu.tflite").write_bytes((folder / "m.tflite").read_bytes())
    assert bench(folder / "m_edgetpu.tflite", data=RAW, plan=bench_plan(runs=9), op_profile=False).runs
    assert parity(folder / "m.tflite", data=folder / "x.npy", device="local", samples=8).held


def test_the_agent_by_hand_prepares_and_joins(used):
    folder, _, expected = used
    (folder / "agent.pyz").write_bytes(pack_agent())
    command = [sys.executable, "agent.pyz", "eval", "m.tflite", "--inputs", "x.npy", "--labels", "y.npy", "--json"]
    run = subprocess.run([*command, "--outputs", "out"], cwd=folder, capture_output=True, text=True, check=True)
    found = np.load(folder / "out" / "joined-0.npy")
    assert near(found, expected)
    assert json.loads(run.stdout)["mae"] == pytest.approx(np.abs(found - expected).mean(), rel=1e-4)
    np.save(folder / "narrow.npy", RAW[:, :5])
    command[command.index("x.npy")] = "narrow.npy"
    failed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert failed.returncode == 2 and "the data cannot be prepared for the file" in failed.stderr
    (folder / "alone.tflite").write_bytes((folder / "m.tflite").read_bytes())
    command[command.index("narrow.npy")], command[command.index("m.tflite")] = "x.npy", "alone.tflite"
    failed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert failed.returncode == 2 and "the sidecar alone.json that says how is absent; copy it" in failed.stderr
    named = [sys.executable, "agent.pyz", "eval", "alone.tflite", "--inputs", "normalise=x.npy", "--json"]
    assert subprocess.run(named, cwd=folder, capture_output=True, check=False).returncode == 0
    command[command.index("alone.tflite")] = "m.tflite"
    (folder / "other.json").write_text(json.dumps({"tool": {"name": "edgeopt"}, "sha256": "0" * 64}))
    (folder / "other.tflite").write_bytes((folder / "m.tflite").read_bytes())
    command[command.index("m.tflite")] = "other.tflite"
    failed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert failed.returncode == 2 and "belongs to another file" in failed.stderr


def test_the_snippet_prepares_and_joins(used):
    folder, _, expected = used
    sidecar = json.loads((folder / "m.json").read_text())
    text, count = re.subn(
        r"^features = np\.zeros.*$",
        "features = np.load('x.npy')[:1]",
        inference_snippet("m.tflite", sidecar),
        flags=re.M,
    )
    assert count == 1
    text += "np.save('found.npy', joined['found'])\n"
    subprocess.run([sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, check=True)
    assert near(np.load(folder / "found.npy"), expected[:1])


def test_steps_that_do_not_fit_are_an_error_with_a_remedy(used):
    folder, _, _ = used
    artifact = edgeopt.Artifact.load(folder / "m.tflite")
    back = {**artifact.sidecar["back"], "outputs": ["another"]}
    with pytest.raises(FileFormatError, match="does not make the output 'another'; convert again"):
        Contract(back=back).joined({"boxes": RAW, "scores": RAW})
    front = {**artifact.sidecar["front"], "layers": None, "unknown": [{"layer": "table", "class": "Table"}]}
    with pytest.raises(DataError, match=r"'table' \(Table\); give the file's own inputs"):
        bench(edgeopt.Artifact(artifact.model, {**artifact.sidecar, "front": front}), data={"features": RAW})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "int16x8"}, "does not go with quantize='int16x8'"),
        ({"from_layer": "dense"}, "does not go with from_layer"),
        ({"float_ops": "auto", "max_drop": 0.1, "data": (RAW, RAW)}, "max_drop scores a file that gives the model's"),
    ],
)
def test_what_does_not_go_with_it_is_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        edgeopt.convert("m.keras", calibration=RAW, edges="prepared", **options)


def test_a_saved_model_has_no_layers_to_take_off(tmp_path):
    import keras

    model_of(keras).export(tmp_path / "exported", verbose=False)
    with pytest.raises(UsageError, match="is a SavedModel, which holds no layers to take off"):
        converted(str(tmp_path / "exported"))
