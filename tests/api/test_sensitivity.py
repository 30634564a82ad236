"""Which operator loses an int8 file's accuracy, found by making it, and it alone, float or int8."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import edgeopt
from edgeopt.cli.main import main
from edgeopt.errors import DataError, RecipeError, UsageError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 6)).astype(np.float32)


def mixed(keras, factor=200.0):
    """Three Dense layers; one channel of the second is `factor` times the others, and the third scales it down."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6,), name="x"),
            layers.Dense(16, activation="relu", name="first"),
            layers.Dense(16, activation="relu", name="wide"),
            layers.Dense(4, name="last"),
        ]
    )
    kernel, bias = model.get_layer("wide").get_weights()
    kernel[:, 0] *= factor
    model.get_layer("wide").set_weights([kernel, bias])
    kernel, bias = model.get_layer("last").get_weights()
    kernel[0] /= factor
    model.get_layer("last").set_weights([kernel, bias])
    return model


def asked(model, **options):
    return edgeopt.sensitivity(model, calibration=X, calibration_samples=100, isolate=False, **options)


def test_the_operator_that_loses_it_comes_first_with_the_layer_and_what_helps(any_keras):
    report = asked(mixed(any_keras))
    *costly, first = report.operators
    assert {row.layer: row.remedy for row in costly} == {"wide": "equalise", "last": "equalise"}
    assert all("spans differ" in row.advice for row in costly)
    assert sum(row.noise_share for row in costly) > 0.95
    assert max(row.only_int8_db for row in costly) < 15 < first.only_int8_db
    assert (first.layer, first.remedy) == ("first", "")
    assert [row.only_int8_db for row in report.operators] == sorted(row.only_int8_db for row in report.operators)
    assert sum(row.noise_share for row in report.operators) == pytest.approx(1)
    assert sum(row.macs_share for row in report.operators) == pytest.approx(1)
    assert (report.holds, report.samples, report.held_back) == (False, 50, True)


def test_an_even_model_has_nothing_that_stands_out():
    import tf_keras

    report = asked(mixed(tf_keras, factor=1.0))
    assert report.holds
    assert report.snr_db > 25
    assert not {"equalise", "repair", "ranges"} & {row.remedy for row in report.operators}


def test_outputs_that_do_not_move_prove_nothing_as_in_a_conversion():
    import tf_keras

    model = mixed(tf_keras, factor=1.0)
    kernel, bias = model.get_layer("last").get_weights()
    model.get_layer("last").set_weights([kernel * 1e-4, bias + 100])
    report = asked(model)
    plain = edgeopt.convert(model, calibration=X, calibration_samples=100, isolate=False)
    assert report.to_dict()["verdict"] == plain.to_dict()["verdict"] == "not proven"
    assert not report.holds


def test_the_int8_files_own_ratio_is_that_of_the_last_operator():
    import tf_keras

    model = mixed(tf_keras, factor=4.0)
    report = asked(model)
    last = next(row for row in report.operators if row.layer == "last")
    plain = edgeopt.convert(model, calibration=X, calibration_samples=100, isolate=False)
    assert report.snr_db == pytest.approx(plain.fidelity.snr_db)
    assert last.snr_db == pytest.approx(report.snr_db, abs=0.5)  # kernels with and without a delegate round apart
    values = np.asarray(model(X))
    assert last.low >= values.min()
    assert last.high <= values.max()


def test_with_labelled_data_each_has_its_metric():
    import tf_keras

    model = mixed(tf_keras)
    labels = np.asarray(model(X)).argmax(axis=1)
    report = asked(model, data=(X, labels))
    assert (report.metric.name, report.metric.float_value, report.metric.samples) == ("accuracy", 1.0, 150)
    assert report.metric.int8_value < 0.9
    found = {row.layer: row.metric for row in report.operators}
    assert found["wide"].only_int8 < 0.9
    assert found["first"].only_int8 > 0.97
    assert found["first"].only_float < 0.9  # the others are int8 still


def test_data_that_do_not_fit_are_refused_before_anything_is_converted():
    import tf_keras

    stages = []
    with pytest.raises(DataError, match="hold no labels, which the metric accuracy needs"):
        asked(mixed(tf_keras), data=X, on_event=lambda event: stages.append(event.get("stage")))
    assert "convert" not in stages
    with pytest.raises(UsageError, match="Unknown metric 'acuracy'"):
        asked(mixed(tf_keras), data=(X, X[:, 0]), metric="acuracy")
    with pytest.raises(UsageError, match="name it: module:NAME"):
        asked(mixed(tf_keras), data=(X, X[:, 0]), metric=lambda labels, outputs: 1.0)


def test_what_is_not_int8_is_refused():
    import tf_keras

    with pytest.raises(RecipeError, match="quantize='int16x8'; the sensitivities are those of int8 files"):
        asked(mixed(tf_keras), quantize="int16x8")


def test_a_float_edge_is_not_asked_about_and_the_same_edge_as_int8_is_to_be_repaired():
    import tf_keras

    spans = np.geomspace(1e-3, 1e3, 6).astype(np.float32)
    layers = tf_keras.layers
    normal = layers.Normalization(mean=np.zeros(6, np.float32), variance=spans**2, name="normal")
    model = tf_keras.Sequential([tf_keras.Input((6,), name="x"), normal, layers.Dense(4, name="dense")])
    options = {"calibration": X * spans, "calibration_samples": 100, "isolate": False}
    strict = edgeopt.sensitivity(model, edges="int8", **options)
    assert (strict.operators[0].layer, strict.operators[0].remedy) == ("normal", "repair")
    loose = edgeopt.sensitivity(model, **options)
    assert [row.layer for row in loose.operators] == ["dense"]
    assert (strict.holds, loose.holds) == (False, True)


def test_on_the_command_line(tmp_path, capsys):
    import tf_keras

    model = mixed(tf_keras)
    model.save(tmp_path / "m.h5")
    np.savez(tmp_path / "c.npz", x=X, y=np.asarray(model(X)).argmax(axis=1))
    words = [str(tmp_path / "m.h5"), "--calibration", str(tmp_path / "c.npz"), "--data", str(tmp_path / "c.npz")]
    assert main(["sensitivity", *words, "--json", str(tmp_path / "s.json")]) == 0
    told = capsys.readouterr().out
    head = next(line for line in told.splitlines() if line.startswith("operator"))
    first = told.splitlines()[told.splitlines().index(head) + 1]
    assert ("FULLY_CONNECTED" in first, "equalise" in first) == (True, True)
    assert re.search(r"^equalise: one scale for channels whose spans differ [^:]*: [^:]*: wide$", told, re.M)
    found = json.loads((tmp_path / "s.json").read_text())
    assert (found["verdict"], len(found["operators"])) == ("unfaithful", 3)
    assert set(found["operators"][0]["metric"]) == {"only_float", "only_int8"}
