"""Files of 16-bit activations with what their quantiser refuses by itself: ELU, HARD_SWISH and selected masks."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.repairs.change import computes_the_same
from edgeopt.converters.repairs.exponentials import bounded_elu
from edgeopt.converters.repairs.wide import spelled_hard_swish
from edgeopt.errors import ConversionError
from edgeopt.flatbuffer import read_model

RNG = np.random.default_rng(0)
X = (3 * RNG.normal(size=(100, 6, 8))).astype(np.float32)


# Operator -> the activation that is it, and what spells it out.
SPELLED = {"HARD_SWISH": ("hard_silu", spelled_hard_swish), "ELU": ("elu", bounded_elu)}


def activated(keras, name):
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 8), name="x")
    return keras.Model(x, keras.layers.Dense(4)(keras.layers.Activation(SPELLED[name][0])(x)))


def masked(keras):
    """A constant causal mask: added in Keras 2, selected in Keras 3."""
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 8), name="x")
    return keras.Model(x, keras.layers.MultiHeadAttention(2, 8, name="attention")(x, x, use_causal_mask=True))


def wide(model, **options):
    return edgeopt.convert(model, quantize="int16x8", calibration=X, calibration_samples=100, isolate=False, **options)


@pytest.mark.parametrize("name", SPELLED)
def test_an_activation_is_said_in_what_16_bits_have(name):
    import keras

    artifact = wide(activated(keras, name))
    assert artifact.fidelity.snr_db > 35 and artifact.warnings == ()
    assert name.lower().replace("_", "-") in [repair["kind"] for repair in artifact.sidecar["repairs"]]
    with pytest.raises(ConversionError, match=f"cannot quantise the operator {name}"):
        wide(activated(keras, name), repair=False)


@pytest.mark.parametrize("name", SPELLED)
def test_it_computes_the_same_in_float(name):
    import keras

    content = edgeopt.convert(activated(keras, name), quantize="float32", isolate=False).model
    assert name in [operator.name for operator in read_model(content).main.operators]
    change = SPELLED[name][1](content, {"x": X})
    assert computes_the_same(content, change.content, {"x": X})
    assert name not in [operator.name for operator in read_model(change.content).main.operators]


def test_constant_masks_are_bounded(any_keras):
    artifact = wide(masked(any_keras))
    assert artifact.fidelity.snr_db > 35 and artifact.warnings == ()
    kinds = [repair["kind"] for repair in artifact.sidecar["repairs"]]
    assert kinds == (["select", "mask"] if any_keras.__name__ == "keras" else ["mask"])


def test_a_layer_normalization_runs():
    """Its SQUARED_DIFFERENCE is quantised to 16 bits, but no runtime has that."""
    import keras

    x = keras.Input((6, 8), name="x")
    artifact = wide(keras.Model(x, keras.layers.LayerNormalization()(x)))
    assert artifact.fidelity.snr_db > 35 and "SQUARED_DIFFERENCE" not in artifact.sidecar["ops"]
