"""Masks become constants that an integer tensor can hold, and every softmax stays what it was."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import edgeopt
from edgeopt.converters.outputs import file_outputs
from edgeopt.converters.repairs.masks import bound_masks
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.specs import input_specs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6, 8)).astype(np.float32)
TOKENS = np.concatenate([RNG.integers(1, 9, size=(60, 4)), np.zeros((60, 2), int)], axis=1).astype(np.float32)


def causal(keras):
    """A causal mask that is constant: -1e9 in Keras 2, float32's lowest in Keras 3."""
    x = keras.Input((6, 8), name="x")
    return keras.Model(x, keras.layers.MultiHeadAttention(2, 8, name="attention")(x, x, use_causal_mask=True))


def padded(keras):
    """A mask that depends on the tokens, and masks whole rows."""
    tokens = keras.Input((6,), name="x", dtype="int32" if keras.__name__ == "keras" else "float32")
    x = keras.layers.Embedding(9, 8, mask_zero=True)(tokens)
    return keras.Model(tokens, keras.layers.MultiHeadAttention(2, 8, name="attention")(x, x))


def attention(keras):
    """Keras' older Attention, which subtracts 1e9 times the mask."""
    x = keras.Input((6, 8), name="x")
    return keras.Model(x, keras.layers.Attention(name="attention")([x, x], use_causal_mask=True))


def own(keras, lowest=-65504.0):
    """Code of one's own: what is added is nearly -65504, float16's lowest, or not that much."""
    x = keras.Input((6, 8), name="x")
    scores = keras.layers.Dot(axes=2)([keras.layers.Dense(8)(x), x])
    masking = keras.layers.Rescaling(0.0, offset=np.triu(np.full((6, 6), lowest, np.float32), 1))(scores)
    weights = keras.layers.Softmax(name="attention")(keras.layers.Add()([scores, masking]))
    return keras.Model(x, keras.layers.Dot(axes=(2, 1))([weights, x]))


MODELS = {
    "causal": (causal, X),
    "padded": (padded, TOKENS),
    "attention": (attention, X),
    "own": (own, X),
    "own, -700": (partial(own, lowest=-700.0), X),
}


@pytest.fixture(params=MODELS)
def case(request, any_keras):
    build, x = MODELS[request.param]
    any_keras.utils.set_random_seed(0)
    return build(any_keras), x


def test_the_float_file_gives_what_it_gave(case):
    model, x = case
    content = edgeopt.convert(model, quantize="float32", isolate=False).model
    samples = {input_specs(read_model(content))[0].name: x[:16]}
    repaired = bound_masks(content, samples)
    assert repaired is not None and repaired.tensors
    assert all(-200 < floor < -20 for floor in repaired.floors.values())
    [before], [after] = (list(file_outputs(file, samples).values()) for file in (content, repaired.content))
    # Rows that are masked whole become uniform in int8 only.
    kept = x[:16] != 0 if x is TOKENS else np.ones(after.shape[:2], bool)
    np.testing.assert_allclose(after[kept], before[kept], atol=1e-5)
    constants = [tensor.data() for tensor in read_model(repaired.content).main.tensors if "bounded_mask" in tensor.name]
    assert constants and max(np.abs(values).max() for values in constants) < 200


def test_a_file_without_masks_is_left_alone(any_keras):
    x = any_keras.Input((6, 8), name="x")
    model = any_keras.Model(x, any_keras.layers.MultiHeadAttention(2, 8)(x, x))
    content = edgeopt.convert(model, quantize="float32", isolate=False).model
    assert bound_masks(content, {"x": X}) is None
