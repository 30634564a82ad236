"""One calibrated file, quantised with operators left float: what is float is what was asked, and no more."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.api.convert import Loading, run_conversion, settings_of
from edgeopt.converters.outputs import file_tensors
from edgeopt.converters.rewrite import put_names
from edgeopt.converters.tflite import TFLiteBackend
from edgeopt.evaluation.fidelity import snr_db
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.integer import float_ops

X = np.random.default_rng(0).normal(size=(60, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def trials():
    """Those of two convolutions, a reshape and a Dense layer."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 3), name="x"),
            layers.Conv2D(4, 3, activation="relu", name="one"),
            layers.Conv2D(4, 3, name="two"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="scores"),
        ]
    )
    kept = []
    convert = TFLiteBackend.convert

    def keeping(self, *given):
        self.follow = lambda found: kept.append(found) or found.file
        return convert(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TFLiteBackend, "convert", keeping)
        run_conversion(model, X, settings_of(None, {"calibration_samples": 50}), Loading(), isolate=False)
    return kept[0]


def floats(file):
    return [operator.op for operator in float_ops(read_model(file)) if operator.op not in ("QUANTIZE", "DEQUANTIZE")]


def by_layer(trials, layer):
    return next(item for item in trials.operators if trials.layer(item, ["one", "two", "flat", "scores"]) == layer)


def test_what_only_moves_values_is_not_asked_about(trials):
    assert [item.name for item in trials.operators] == ["CONV_2D", "CONV_2D", "FULLY_CONNECTED", "SOFTMAX"]


def test_those_named_are_float_and_no_others(trials):
    assert floats(trials.file) == []
    one, two, dense, _ = trials.operators
    assert floats(trials.with_float([one])) == ["CONV_2D"]
    assert floats(trials.with_float([two, dense])) == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]  # it lies between them
    assert floats(trials.with_float([one, dense])) == ["CONV_2D", "FULLY_CONNECTED"]


def test_alone_it_is_int8_between_floats(trials):
    two = by_layer(trials, "two")
    file = trials.file_alone(two)
    assert floats(file).count("CONV_2D") == 1
    assert read_model(file).main.tensors[read_model(file).main.inputs[0]].dtype == "float32"


def test_alone_its_result_is_what_an_interpreter_that_keeps_all_tensors_has(trials):
    two = by_layer(trials, "two")
    file = put_names(trials.file_alone(two), *trials.names)
    (tensor,) = [item for item in read_model(file).main.tensors if item.name == trials.result(two).name]
    found = file_tensors(file, [tensor], trials.some_samples)[tensor.index]
    expected = snr_db(trials.float_results[tensor.name], found)
    assert trials.alone(two).here_db == pytest.approx(expected, abs=0.5)
    assert 25 < trials.alone(two).here_db < 60


def test_the_same_question_gives_the_same_bytes(trials):
    one = by_layer(trials, "one")
    assert trials.with_float([one]) == trials.with_float([one])


def test_a_model_without_a_calibration_of_ours_is_followed_too():
    import tf_keras

    layers = tf_keras.layers
    x = tf_keras.Input((6, 3), batch_size=1, name="x")
    model = tf_keras.Model(x, layers.Dense(2, name="y")(layers.LSTM(4, name="lstm")(x)))
    data = np.random.default_rng(0).normal(size=(30, 6, 3)).astype(np.float32)
    report = edgeopt.sensitivity(model, calibration=data, isolate=False)
    assert "y" in {row.layer for row in report.operators}
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in {row.op for row in report.operators}
