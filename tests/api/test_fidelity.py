"""A converted file is held against its model: what is not the model's is never "ok", and the cause is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

import edgeopt
from edgeopt.cli.main import main
from edgeopt.data.dataset import sample_hashes
from edgeopt.errors import BudgetError

RNG = np.random.default_rng(0)


def converted(model, x, **options):
    return edgeopt.convert(model, calibration=x, isolate=False, **options)


def network(keras):
    """A small classifier that int8 does no harm to."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((8,), name="x"), layers.Dense(16, activation="relu"), layers.Dense(4, activation="softmax")]
    )


X = RNG.normal(size=(120, 8)).astype(np.float32) * 3


def test_a_good_file_is_ok_on_samples_that_made_no_ranges(any_keras):
    artifact = converted(network(any_keras), X, calibration_samples=100)
    found = artifact.fidelity
    assert (artifact.warnings, artifact.to_dict()["verdict"]) == ((), "ok")
    assert (found.samples, found.held_back, found.holds) == (20, True, True)
    assert found.snr_db > 25
    assert found.outputs[0].max_error_steps == pytest.approx(found.outputs[0].max_error * 256)


def test_the_figures_are_those_of_the_file_beside_keras(any_keras, running):
    model = network(any_keras)
    artifact = converted(model, X, calibration_samples=70)
    [found] = artifact.fidelity.outputs
    hashes = set(artifact.sidecar["calibration"]["hashes"])
    others = np.stack([row for row in X if sample_hashes([row[np.newaxis]])[0] not in hashes])
    expected = np.asarray(model(others))
    run = running(artifact.model)
    got = np.concatenate([run.real({"x": row[np.newaxis]})[0] for row in others])
    signal = np.sum((expected - expected.mean(axis=0)) ** 2)
    assert len(others) == artifact.fidelity.samples == 50
    assert found.snr_db == pytest.approx(10 * np.log10(signal / np.sum((expected - got) ** 2)), abs=0.2)
    assert found.max_error == pytest.approx(np.abs(expected - got).max(), abs=1e-5)
    assert found.same_class == np.mean(expected.argmax(axis=1) == got.argmax(axis=1))


def test_without_more_samples_those_that_calibrated_are_compared_and_it_is_said(any_keras):
    found = converted(network(any_keras), X, calibration_samples=200).fidelity
    assert (found.samples, found.held_back) == (50, False)


@pytest.mark.parametrize("quantize", ["int16x8", "float16", "dynamic", "float32"])
def test_every_kind_of_file_is_compared(any_keras, quantize):
    artifact = converted(network(any_keras), X, quantize=quantize, calibration_samples=100)
    assert artifact.fidelity.holds
    assert artifact.fidelity.snr_db > {"dynamic": 25, "int16x8": 35, "float16": 50, "float32": 100}[quantize]


def masked(keras):
    """Attention whose scores are masked with -1e9."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = keras.Input((6, 8), name="x")
    scores = layers.Dot(axes=2)([layers.Dense(8)(x), layers.Dense(8)(x)])
    mask = np.triu(np.full((1, 6, 6), -1e9, np.float32), 1)
    keys = layers.Add()([scores, keras_constant(keras, mask)(scores)])
    return keras.Model(x, layers.Dot(axes=(2, 1), name="attended")([layers.Softmax()(keys), layers.Dense(4)(x)]))


def keras_constant(keras, value):
    class Mask(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 0 + value

    return Mask(name="causal_mask")


def joined(keras):
    """Boxes in pixels and scores in one output."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = keras.Input((8,), name="x")
    boxes = layers.Rescaling(100.0, name="pixels")(layers.Dense(4)(x))
    return keras.Model(x, layers.Concatenate(name="joined")([boxes, layers.Dense(3, activation="sigmoid")(x)]))


def units(keras):
    """Values of different units from one layer: metres of a height and of a hair."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8,), name="x")
    hidden = keras.layers.Dense(16, activation="relu")(x)
    last = keras.layers.Dense(2, name="units")
    model = keras.Model(x, last(hidden))
    last.set_weights([last.get_weights()[0] * np.array([1000, 0.1], np.float32), np.zeros(2, np.float32)])
    return model


SPANS = np.array([1e-3, 1e-2, 0.1, 1, 1, 10, 100, 4000], np.float32)


def raw_features(keras):
    """Features of very different spans, normalised inside the model."""
    model = network(keras)
    x = keras.Input((8,), name="x")
    normal = keras.layers.Normalization(mean=SPANS / 10, variance=SPANS**2, name="normalise")
    return keras.Model(x, model(normal(x)))


def divided_features(keras):
    """The same divided by their spans, which TFLite's converter folds into the layer's weights."""
    x = keras.Input((8,), name="x")
    return keras.Model(x, network(keras)(x / SPANS))


FAULTS = {
    "mask": (masked, RNG.normal(size=(80, 6, 8)).astype(np.float32), "mask with a value such as -100"),
    "joined": (joined, X, "give the parts as outputs of their own"),
    "units": (units, X, "give the parts as outputs of their own"),
    "input": (raw_features, X * SPANS, "normalise outside the model"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_ruined_file_is_warned_about_with_its_cause_and_the_remedy(any_keras, kind):
    build, x, remedy = FAULTS[kind]
    artifact = converted(build(any_keras), x, calibration_samples=50, repair=False, edges="int8")
    assert artifact.fully_int8
    [warning] = artifact.warnings
    assert warning.startswith("fidelity: the file's outputs are not the model's (output ")
    assert remedy in warning
    assert artifact.to_dict()["verdict"] == "unfaithful"
    cause = artifact.fidelity.cause
    assert cause.kind == {"units": "joined"}.get(kind, kind)
    assert cause.layer == {"mask": cause.layer, "input": "normalise"}.get(kind, kind)
    assert f"scale {cause.scale:.3g}" in warning


def test_a_mask_is_seen_without_any_comparison(any_keras):
    build, x, remedy = FAULTS["mask"]
    [warning] = converted(build(any_keras), x, calibration_samples=50, repair=False, fidelity=False).warnings
    assert warning.startswith("fidelity: the outputs are not likely to be the model's") and remedy in warning


def test_joined_scores_are_lost_channels(any_keras):
    build, x, _ = FAULTS["joined"]
    [output] = converted(build(any_keras), x, edges="int8").fidelity.outputs
    assert output.lost_channels == (4, 5, 6)
    assert output.snr_db > 15


# --- what is repaired by default --------------------------------------------------------------------------------------


def test_a_mask_is_bounded_and_the_file_stays_fully_int8(any_keras):
    build, x, _ = FAULTS["mask"]
    artifact = converted(build(any_keras), x, calibration_samples=50)
    assert (artifact.warnings, artifact.fully_int8, artifact.sidecar["edges"]) == ((), True, [])
    assert artifact.fidelity.snr_db > 25
    [repair] = artifact.sidecar["repairs"]
    assert repair["kind"] == "mask" and repair["layers"]


@pytest.mark.parametrize(
    ("kind", "end", "ops", "types"),
    [
        ("input", "input", ["SUB", "MUL"], ("float32", "int8")),
        ("divided", "input", ["FULLY_CONNECTED"], ("float32", "int8")),
        ("joined", "output", ["CONCATENATION"], ("int8", "float32")),
        ("units", "output", ["FULLY_CONNECTED"], ("int8", "float32")),
    ],
)
def test_an_edge_stays_float_where_one_scale_cannot_hold_it_and_it_is_said(any_keras, kind, end, ops, types):
    build, x = (divided_features, X * SPANS) if kind == "divided" else FAULTS[kind][:2]
    model = build(any_keras)
    artifact = converted(model, x, calibration_samples=50)
    assert (artifact.warnings, artifact.fully_int8, artifact.to_dict()["verdict"]) == ((), False, "ok")
    assert artifact.fidelity.snr_db > 30
    rows = artifact.sidecar["edges"]
    assert [row["op"] for row in rows][-len(ops) :] == ops and {row["end"] for row in rows} == {end}
    found = [artifact.sidecar[name][0]["dtype"] for name in ("inputs", "outputs")]
    assert tuple(found) == types
    # Names, order, shapes and real values are the model's.
    strict = converted(model, x, calibration_samples=50, edges="int8")
    for name in ("inputs", "outputs"):
        assert [(item["name"], item["shape"]) for item in artifact.sidecar[name]] == [
            (item["name"], item["shape"]) for item in strict.sidecar[name]
        ]


@pytest.mark.parametrize(("kind", "asked"), [("input", "input_type"), ("joined", "output_type")])
def test_a_type_that_was_asked_for_is_kept_and_the_file_warned_about(any_keras, kind, asked):
    build, x, remedy = FAULTS[kind]
    artifact = converted(build(any_keras), x, calibration_samples=50, **{asked: "int8"})
    assert artifact.fully_int8 and remedy in artifact.warnings[0]


def test_a_good_file_has_no_edges_though_it_begins_with_a_normalisation(any_keras):
    x = any_keras.Input((8,), name="x")
    scaled = any_keras.layers.Rescaling(0.5, offset=0.1)(x)
    artifact = converted(any_keras.Model(x, network(any_keras)(scaled)), X, calibration_samples=100)
    assert artifact.fully_int8 and artifact.sidecar["edges"] == []


def test_the_command_says_what_stayed_float(tmp_path, capsys, monkeypatch):
    import keras

    monkeypatch.chdir(tmp_path)
    build, x, _ = FAULTS["input"]
    build(keras).save("m.keras")
    np.save("x.npy", x)
    assert main(["convert", "m.keras", "--calibration", "x.npy", "-o", "m.tflite"]) == 0
    flat = " ".join(capsys.readouterr().out.split())
    assert "quantize int8, but 2 operator(s) at the input stay float (normalise)" in flat


# --- what is promised ------------------------------------------------------------------------------------------------


def test_a_promise_that_is_missed_is_raised_on_demand_and_the_artifact_is_there(any_keras):
    artifact = converted(network(any_keras), X, min_fidelity=90)
    with pytest.raises(BudgetError, match=r"dB of signal to noise on 50 samples; min_fidelity asks for 90"):
        artifact.raise_for_fidelity()
    converted(network(any_keras), X, min_fidelity=20).raise_for_fidelity()


def test_a_promise_without_samples_cannot_be_judged(any_keras):
    artifact = edgeopt.convert(network(any_keras), quantize="dynamic", min_fidelity=20, isolate=False)
    with pytest.raises(BudgetError, match="give calibration data"):
        artifact.raise_for_fidelity()


def test_the_command_writes_the_file_says_the_figures_and_exits_with_4(tmp_path, capsys, monkeypatch):
    import keras

    monkeypatch.chdir(tmp_path)
    network(keras).save("m.keras")
    np.save("x.npy", X)
    line = ["convert", "m.keras", "--calibration", "x.npy", "--calibration-samples", "100", "-o", "m.tflite"]
    assert main([*line, "--min-fidelity", "90"]) == 4
    out, err = capsys.readouterr()
    assert "min_fidelity asks for 90" in err
    found = json.loads((tmp_path / "m.json").read_text())["fidelity"]
    assert f"{found['snr_db']:.1f} dB, same class on" in " ".join(out.split())
    assert "of 20 samples held back" in " ".join(out.split())
    assert edgeopt.Artifact.load("m.tflite").fidelity.snr_db == found["snr_db"]
    assert main([*line, "--force", "--no-fidelity"]) == 0
    assert json.loads((tmp_path / "m.json").read_text())["fidelity"] is None
