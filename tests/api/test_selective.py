"""Operators of an int8 file that stay float on request: the fewest that do, named, and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest

import edgeopt
from edgeopt.cli.main import main
from edgeopt.errors import BudgetError, RecipeError, UsageError
from edgeopt.evaluation.fidelity import snr_db
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.integer import float_ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 6)).astype(np.float32)
FACTOR = 200.0


@pytest.fixture(scope="module")
def model():
    """Four Dense layers; one channel of the second is much larger than its others, and the third scales it down."""
    import tf_keras

    tf_keras.utils.set_random_seed(1)
    layers = tf_keras.layers
    made = tf_keras.Sequential(
        [
            tf_keras.Input((6,), name="x"),
            layers.Dense(16, activation="relu", name="first"),
            layers.Dense(16, activation="relu", name="wide"),
            layers.Dense(8, activation="relu", name="narrow"),
            layers.Dense(4, activation="softmax", name="scores"),
        ]
    )
    for layer, axis, factor in (("wide", 1, FACTOR), ("narrow", 0, 1 / FACTOR)):
        kernel, bias = made.get_layer(layer).get_weights()
        np.moveaxis(kernel, axis, 0)[0] *= factor
        made.get_layer(layer).set_weights([kernel, bias])
    return made


def converted(model, **options):
    return edgeopt.convert(model, calibration=X, calibration_samples=100, isolate=False, **options)


def floats(artifact):
    found = float_ops(read_model(artifact.model))
    return [operator.op for operator in found if operator.op not in ("QUANTIZE", "DEQUANTIZE")]


def layers_of(artifact):
    return [row["layer"] for row in artifact.sidecar["selective"]["operators"]]


def test_the_fewest_that_reach_the_fidelity_stay_float_and_are_named(model, running):
    plain, artifact = converted(model), converted(model, float_ops="auto", min_fidelity=25)
    assert plain.fidelity.snr_db < 15
    assert layers_of(artifact) == ["wide", "narrow"]
    assert floats(artifact) == ["FULLY_CONNECTED", "FULLY_CONNECTED"]
    found = artifact.sidecar["selective"]
    assert (found["reached"], found["goal"], artifact.fully_int8) == (True, "25 dB", False)
    assert found["int8"]["snr_db"] == pytest.approx(plain.fidelity.snr_db)
    assert found["selective"]["snr_db"] == pytest.approx(artifact.fidelity.snr_db)
    assert (found["int8"]["size_bytes"], found["selective"]["size_bytes"]) != (0, 0)
    assert 0 < found["int8"]["latency_ms"] < 100
    assert [spec["dtype"] for spec in artifact.sidecar["inputs"] + artifact.sidecar["outputs"]] == ["int8", "int8"]
    assert (artifact.to_dict()["verdict"], artifact.warnings) == ("ok", ())
    artifact.raise_for_fidelity()
    run = running(artifact.model)
    got = np.concatenate([run.real({"x": row[np.newaxis]})[0] for row in X])
    assert snr_db(np.asarray(model(X)), got) > 23  # on all samples, those that calibrated too


def test_one_alone_would_not_have_reached_it(model):
    for layer in ("wide", "narrow"):
        assert converted(model, float_ops=[layer]).fidelity.snr_db < 20


def test_what_int8_reaches_keeps_no_float(model):
    artifact = converted(model, float_ops="auto", min_fidelity=-5)
    assert (layers_of(artifact), artifact.fully_int8) == ([], True)
    assert artifact.model == converted(model).model
    assert artifact.sidecar["selective"]["selective"] is None


def test_what_nothing_reaches_keeps_no_float_and_misses_the_goal(model):
    artifact = converted(model, float_ops="auto", min_fidelity=140)
    assert (layers_of(artifact), artifact.fully_int8) == ([], True)
    assert any(warning.startswith("float-ops: none was left float, because") for warning in artifact.warnings)
    with pytest.raises(BudgetError, match="min_fidelity asks for 140"):
        artifact.raise_for_fidelity()


def test_a_number_is_the_most_and_fewer_do_where_more_gain_nothing(model):
    best = converted(model, float_ops=2)
    assert layers_of(best) == ["wide", "narrow"]
    assert len(layers_of(converted(model, float_ops=4))) <= 4
    assert len(layers_of(converted(model, float_ops=1))) <= 1


def test_without_a_limit_auto_stops_where_the_outputs_are_the_models(model):
    artifact = converted(model, float_ops="auto")
    assert artifact.fidelity.holds
    assert artifact.sidecar["selective"]["goal"] == "outputs that are the model's"


@pytest.mark.parametrize("output_type", ["int8", "float32"])
def test_layers_by_name_stay_float_the_last_too(model, output_type):
    artifact = converted(model, float_ops=["scores"], output_type=output_type)
    assert layers_of(artifact) == ["scores", "scores"]
    assert floats(artifact) == ["FULLY_CONNECTED", "SOFTMAX"]
    assert artifact.sidecar["outputs"][0]["dtype"] == output_type


def test_what_stays_float_is_chosen_after_the_recovery_which_what_stays_int8_keeps(model):
    alone, named = converted(model, recover=True), converted(model, float_ops=["wide"], recover=True)
    assert any(step["kept"] for step in alone.sidecar["recovery"]["steps"])
    assert named.sidecar["recovery"] == alone.sidecar["recovery"]
    assert (layers_of(named), floats(named)) == (["wide"], ["FULLY_CONNECTED"])
    first, _, *rest = constants(alone)
    assert constants(named) == [first, *rest]
    first, _, *rest = constants(converted(model))
    assert constants(named) != [first, *rest]
    assert named.fidelity.snr_db > converted(model, float_ops=["wide"]).fidelity.snr_db
    assert named.sidecar["selective"]["macs_share"] == pytest.approx(16 * 16 / (6 * 16 + 16 * 16 + 16 * 8 + 8 * 4))


def constants(artifact):
    """The weights of each int8 Dense layer in turn, with their scales."""
    graph = read_model(artifact.model).main
    weights = [graph.tensors[item.inputs[1]] for item in graph.operators if item.name == "FULLY_CONNECTED"]
    return [(item.data().tobytes(), item.quantization.scales.tobytes()) for item in weights if item.dtype == "int8"]


def test_after_a_recovery_fewer_do(model):
    goal = {"float_ops": "auto", "min_fidelity": 20}
    before, after = converted(model, **goal), converted(model, **goal, recover=True)
    assert len(layers_of(after)) < len(layers_of(before)) == 2
    found = after.sidecar["selective"]
    assert (found["reached"], found["int8"]["snr_db"] > 20) == (True, True)


def test_heavy_operators_stay_int8_where_light_ones_do_as_well():
    """Two layers with 84 % of the MACs make the most noise each; without that of two small ones the goal is reached."""
    import tf_keras

    tf_keras.utils.set_random_seed(1)
    dense = tf_keras.layers.Dense
    widths = {"first": 8, "heavy": 64, "heavier": 8, "small": 8, "smaller": 8}
    made = tf_keras.Sequential([tf_keras.Input((6,), name="x")])
    for name, width in widths.items():
        made.add(dense(width, activation="relu", name=name))
    made.add(dense(4, name="scores"))
    for layer, axis, factor in (("heavy", 1, 3), ("heavier", 0, 1 / 3)):
        kernel, bias = made.get_layer(layer).get_weights()
        np.moveaxis(kernel, axis, 0)[0] *= factor
        made.get_layer(layer).set_weights([kernel, bias])
    found = converted(made, float_ops="auto", min_fidelity=26.5).sidecar["selective"]
    assert found["reached"] and found["operators"]
    assert not {row["layer"] for row in found["operators"]} & {"heavy", "heavier"}
    assert found["macs_share"] < 0.2


def test_a_name_that_is_none_is_refused_with_the_nearest(model):
    with pytest.raises(UsageError, match="No operator comes from a layer 'wild'.*'wide'"):
        converted(model, float_ops=["wild"])


def test_a_drop_is_judged_on_labelled_samples(model):
    labels = np.asarray(model(X)).argmax(axis=1)
    artifact = converted(model, float_ops="auto", max_drop=0.03, data=(X, labels))
    found = artifact.sidecar["selective"]
    assert found["goal"] == "accuracy at most 0.03 worse on 150 samples"
    assert found["int8"]["drop"] > 0.03 >= found["selective"]["drop"]
    assert "wide" in layers_of(artifact)
    artifact.raise_for_fidelity()
    missed = converted(model, float_ops="auto", max_drop=-0.5, data=(X, labels))
    assert layers_of(missed) == []
    with pytest.raises(BudgetError, match="The goal was missed: accuracy at most -0.5 worse"):
        missed.raise_for_fidelity()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"float_ops": "auto", "quantize": "int16x8"}, "float_ops goes with quantize='int8'"),
        ({"float_ops": "auto", "fidelity": False}, "float_ops needs the comparison"),
        ({"float_ops": 0}, "float_ops is 0; expected 'auto', a number of at least 1"),
        ({"float_ops": "some"}, "float_ops is 'some'"),
        ({"float_ops": [3]}, "float_ops is"),
        ({"max_drop": 0.01}, "max_drop is a goal of float_ops='auto'"),
        ({"float_ops": "auto", "max_drop": 0.01}, "max_drop and the labelled samples .* go together"),
        ({"float_ops": "auto", "max_drop": 0.01, "min_fidelity": 20}, "two goals"),
    ],
)
def test_what_does_not_go_together_is_refused(model, options, message):
    with pytest.raises(RecipeError, match=message):
        converted(model, **options)


def test_on_the_command_line(model, tmp_path, capsys):
    model.save(tmp_path / "m.h5")
    np.save(tmp_path / "c.npy", X)
    files = [str(tmp_path / "m.h5"), "--calibration", str(tmp_path / "c.npy"), "-o", str(tmp_path / "m.tflite")]
    assert main(["convert", *files, "--calibration-samples", "100", "--float-ops", "wide,narrow"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "int8, but 2 operator(s) stay float as asked" in told
    assert "FULLY_CONNECTED wide, FULLY_CONNECTED narrow:" in told
    sidecar = json.loads((tmp_path / "m.json").read_text())
    assert (sidecar["recipe"]["float_ops"], sidecar["fully_int8"]) == (["wide", "narrow"], False)
    assert edgeopt.Artifact.load(tmp_path / "m.tflite").sidecar["selective"]["reached"]
    assert main(["convert", *files, "--force", "--float-ops", "auto", "--target", "edgetpu", "--predict-only"]) == 2
    assert "float_ops does not go with target edgetpu" in capsys.readouterr().err
