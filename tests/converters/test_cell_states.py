"""A fused int8 LSTM whose cell state stays small computes what the model does."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters import ranges
from edgeopt.flatbuffer import read_model

SEQUENCES = (0.05 * np.random.default_rng(0).normal(size=(30, 6, 3))).astype(np.float32)
CELL_STATE = 19


@pytest.fixture(scope="module")
def model():
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    return tf_keras.Sequential([tf_keras.Input((6, 3), name="x"), tf_keras.layers.LSTM(5, name="y")])


def relative_error(running, model):
    artifact = edgeopt.convert(model, calibration=SEQUENCES, calibration_samples=30, isolate=False)
    run = running(artifact.model)
    found = np.concatenate([run.real({"x": sample[None]})[0] for sample in SEQUENCES])
    expected = model(SEQUENCES).numpy()
    return float(np.abs(found - expected).mean() / np.ptp(expected)), artifact


def test_a_small_cell_state_is_given_the_finest_scale_that_the_kernel_has(running, model):
    error, artifact = relative_error(running, model)
    graph = read_model(artifact.model).main
    lstm = next(operator for operator in graph.operators if operator.name == "UNIDIRECTIONAL_SEQUENCE_LSTM")
    assert graph.tensors[lstm.inputs[CELL_STATE]].quantization.scales[0] == 2.0**-15
    assert error < 0.03  # 8-bit gates over six steps


def test_as_tensorflow_leaves_it_the_output_is_noise(running, model, monkeypatch):
    monkeypatch.setattr(ranges, "widened_cell_states", lambda annotated: annotated)
    error, _ = relative_error(running, model)
    assert error > 0.2, "TFLite's kernel computes with small cell states now: widening can go"
