"""TANH of small values keeps its steps, and the file computes what it did."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.outputs import file_outputs
from edgeopt.converters.repairs.change import computes_the_same
from edgeopt.converters.repairs.tanhs import small_tanhs
from edgeopt.flatbuffer import read_model

RNG = np.random.default_rng(0)
IDS = RNG.integers(1, 9, size=(60, 8)).astype(np.int32)
IDS[::2, 5:] = 0  # padding


def recurrent(keras, cell, **options):
    """As it starts: embeddings within 0.05, so that candidates and states are small."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    ids = keras.Input((8,), dtype="int32", name="ids")
    x = layers.Embedding(9, 8, **options)(ids)
    return keras.Model(ids, layers.Dense(3)(getattr(layers, cell)(8)(x)))


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_a_recurrence_of_small_values_behind_a_mask_is_the_models(any_keras, cell):
    model = recurrent(any_keras, cell, mask_zero=True)
    plain, repaired = (
        edgeopt.convert(model, calibration=IDS, repair=repair, isolate=False) for repair in (False, True)
    )
    assert plain.fidelity.snr_db < 20 and repaired.fidelity.snr_db > plain.fidelity.snr_db + 6
    assert repaired.fully_int8 and [item["kind"] for item in repaired.sidecar["repairs"]] == ["tanh"]


@pytest.mark.parametrize(("span", "spelled"), [(0.1, True), (0.5, False)])
def test_only_small_values_are_and_the_float_file_computes_the_same(any_keras, span, spelled):
    x = any_keras.Input((5,), name="x")
    content = edgeopt.convert(
        any_keras.Model(x, any_keras.layers.Activation("tanh", name="y")(x)), quantize="float32", isolate=False
    ).model
    samples = {"x": RNG.uniform(-span, span, (50, 5)).astype(np.float32)}
    change = small_tanhs(content, samples)
    assert (change is not None) == spelled
    if change is not None:
        assert "TANH" not in {operator.name for operator in read_model(change.content).main.operators}
        assert computes_the_same(content, change.content, samples)
        # A planted fault is seen: the plain value, of which a cube is missing.
        [wanted], [found] = (file_outputs(file, samples).values() for file in (content, change.content))
        assert np.abs(wanted - samples["x"]).max() > 1e-4 > 10 * np.abs(wanted - found).max()
