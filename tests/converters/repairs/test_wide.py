"""Files of 16-bit activations with what their quantiser refuses by itself: HARD_SWISH and selected masks."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.repairs.change import computes_the_same
from edgeopt.converters.repairs.wide import spelled_hard_swish
from edgeopt.errors import ConversionError
from edgeopt.flatbuffer import read_model

RNG = np.random.default_rng(0)
X = (3 * RNG.normal(size=(100, 6, 8))).astype(np.float32)


def swishing(keras):
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 8), name="x")
    return keras.Model(x, keras.layers.Dense(4)(keras.layers.Activation("hard_silu")(x)))


def masked(keras):
    """A constant causal mask: added in Keras 2, selected in Keras 3."""
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 8), name="x")
    return keras.Model(x, keras.layers.MultiHeadAttention(2, 8, name="attention")(x, x, use_causal_mask=True))


def wide(model, **options):
    return edgeopt.convert(model, quantize="int16x8", calibration=X, calibration_samples=100, isolate=False, **options)


def test_a_hard_swish_is_said_in_additions_and_multiplications():
    import keras

    artifact = wide(swishing(keras))
    assert artifact.fidelity.snr_db > 35 and artifact.warnings == ()
    assert "hard-swish" in [repair["kind"] for repair in artifact.sidecar["repairs"]]
    with pytest.raises(ConversionError, match="cannot quantise the operator HARD_SWISH"):
        wide(swishing(keras), repair=False)


def test_it_computes_the_same_in_float():
    import keras

    content = edgeopt.convert(swishing(keras), quantize="float32", isolate=False).model
    assert "HARD_SWISH" in [operator.name for operator in read_model(content).main.operators]
    change = spelled_hard_swish(content, {"x": X})
    assert computes_the_same(content, change.content, {"x": X})
    assert "HARD_SWISH" not in [operator.name for operator in read_model(change.content).main.operators]


def test_constant_masks_are_bounded(any_keras):
    artifact = wide(masked(any_keras))
    assert artifact.fidelity.snr_db > 35 and artifact.warnings == ()
    kinds = [repair["kind"] for repair in artifact.sidecar["repairs"]]
    assert kinds == (["select", "mask"] if any_keras.__name__ == "keras" else ["mask"])
