"""`edgeopt.models.export.recurrent`: unrolled, gate by gate, a layer computes what Keras computes, and is as it was afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ConversionError
from edgeopt.models.export.recurrent import MAX_UNROLLED_STEPS, fuses, recurrent_layers, unrolled
from edgeopt.models.load import describe

STEPS, FEATURES = 7, 3
X = np.random.default_rng(0).normal(size=(2, STEPS, FEATURES)).astype(np.float32)

LAYERS = {
    "lstm": lambda layers: layers.LSTM(4),
    "lstm without bias": lambda layers: layers.LSTM(4, use_bias=False),
    "lstm of other activations": lambda layers: layers.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid"),
    "lstm backwards": lambda layers: layers.LSTM(4, go_backwards=True, return_sequences=True),
    "gru": lambda layers: layers.GRU(4),
    "gru as in the paper": lambda layers: layers.GRU(4, reset_after=False),
    "gru without bias": lambda layers: layers.GRU(4, use_bias=False),
    "gru sequences": lambda layers: layers.GRU(4, return_sequences=True),
    "simple": lambda layers: layers.SimpleRNN(4),
    "bidirectional": lambda layers: layers.Bidirectional(layers.GRU(4, return_sequences=True)),
    "stacked cells": lambda layers: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)]),
}


def model_of(keras, name):
    model = keras.Sequential([keras.Input((STEPS, FEATURES), name="x"), LAYERS[name](keras.layers)])
    generator = np.random.default_rng(1)  # biases start as zeros, which would hide a mistake
    model.set_weights([generator.normal(size=weight.shape) * 0.5 for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("name", LAYERS)
def test_unrolled_equals_rolled(any_keras, name):
    model = model_of(any_keras, name)
    expected = np.asarray(model(X, training=False))
    loaded = describe(model)
    with unrolled(loaded, "int16") as names:
        found = np.asarray(model(X, training=False))
    assert names
    # The same sums in another order, STEPS times: 1e-6 relative a step, from float32's 1.2e-7 and about ten terms.
    np.testing.assert_allclose(found, expected, rtol=0, atol=STEPS * 1e-6 * np.abs(expected).max())
    np.testing.assert_array_equal(np.asarray(model(X, training=False)), expected)


def test_a_mask_is_kept(any_keras):
    layers = any_keras.layers
    ids = any_keras.Input((STEPS,), name="ids", dtype="int32")
    model = any_keras.Model(ids, layers.GRU(4)(layers.Embedding(9, FEATURES, mask_zero=True)(ids)))
    values = np.array([[3, 1, 4, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7]], np.int32)
    expected = np.asarray(model(values, training=False))
    with unrolled(describe(model), "int8"):
        found = np.asarray(model(values, training=False))
    np.testing.assert_allclose(found, expected, rtol=0, atol=STEPS * 1e-6)
    assert not np.allclose(expected[0], np.asarray(model(np.maximum(values, 1), training=False))[0], atol=1e-4)


def test_everything_is_restored_after_an_error(any_keras):
    model = model_of(any_keras, "gru")
    loaded = describe(model)
    layer = recurrent_layers(loaded)[0]
    before = {**vars(layer)}, {**vars(layer.cell)}
    with pytest.raises(RuntimeError, match="halfway"), unrolled(loaded, "int8"):
        assert layer.unroll
        assert "call" in vars(layer.cell)
        raise RuntimeError("halfway")
    assert ({**vars(layer)}, {**vars(layer.cell)}) == before


def names_unrolled(model, activations):
    with unrolled(describe(model), activations) as names:
        return names


def test_only_loops_that_cannot_be_quantised_are_unrolled(any_keras):
    fused = any_keras.__name__ == "tf_keras"  # becomes UNIDIRECTIONAL_SEQUENCE_LSTM, which has an 8-bit form
    assert len(names_unrolled(model_of(any_keras, "lstm"), "int8")) == (0 if fused else 1)
    assert len(names_unrolled(model_of(any_keras, "lstm"), "int16")) == 1
    assert len(names_unrolled(model_of(any_keras, "gru"), "int8")) == 1
    assert names_unrolled(model_of(any_keras, "gru"), "float32") == []
    done = [any_keras.Input((STEPS, FEATURES)), any_keras.layers.GRU(4, unroll=True)]
    assert names_unrolled(any_keras.Sequential(done), "int8") == []


def test_beside_trained_ranges_only_sequences_are_unrolled_and_nothing_is_fused():
    """There the layers stay float: no calibrator meets the loop, but the fused operator fails the converter."""
    import tf_keras

    from edgeopt.passes.qat.layers import QuantizedTensor

    layers = tf_keras.layers
    start = [tf_keras.Input((STEPS, FEATURES)), QuantizedTensor()]
    memories = [layers.LSTM(4, return_sequences=True, name="all"), layers.LSTM(4, name="last")]
    with unrolled(describe(tf_keras.Sequential([*start, *memories])), "int8") as names:
        assert names == ["all"]
        assert not any(layer._could_use_gpu_kernel for layer in memories)
    assert all(layer._could_use_gpu_kernel for layer in memories)


def test_tf_keras_fuses_rightly_only_what_is_plain():
    """Each of the others was seen to crash the calibrator, or to come out wrong, in 8 bits."""
    import tf_keras

    layers = tf_keras.layers
    x = tf_keras.Input((STEPS, FEATURES))
    ids = layers.Embedding(9, 3, mask_zero=True)(tf_keras.Input((STEPS,)))
    plain, masked, states, started = layers.LSTM(2), layers.LSTM(2), layers.LSTM(2, return_state=True), layers.LSTM(2)
    plain(x), masked(ids), states(x), started(x, initial_state=[x[:, 0, :2], x[:, 0, :2]])
    assert fuses(plain)
    assert not any(
        fuses(layer) for layer in (masked, states, started, layers.LSTM(2), layers.LSTM(2, activation="relu"))
    )
    merged = layers.Concatenate()([layers.LSTM(2, name="one")(x), layers.Dense(2)(x[:, 0])])
    assert names_unrolled(tf_keras.Model(x, merged), "int8") == ["one"]
    both = tf_keras.Model(x, layers.Bidirectional(layers.LSTM(2))(x))
    assert len(names_unrolled(both, "int8")) == 2


def test_a_custom_cell_keeps_its_own_steps(any_keras):
    class Cell(any_keras.layers.SimpleRNNCell):
        pass

    model = any_keras.Sequential([any_keras.Input((STEPS, FEATURES)), any_keras.layers.RNN(Cell(4))])
    loaded = describe(model)
    with unrolled(loaded, "int8"):
        assert "call" not in vars(recurrent_layers(loaded)[0].cell)


@pytest.mark.parametrize("wrapped", [False, True])
def test_long_sequences_are_refused_by_name(any_keras, wrapped):
    length = MAX_UNROLLED_STEPS + 1
    memory = any_keras.layers.GRU(3, name="memory")
    layer = any_keras.layers.Bidirectional(memory) if wrapped else memory
    model = any_keras.Sequential([any_keras.Input((length, 2), name="x"), layer])
    sentence = "^GRU layer '.*memory' runs over 257 time steps, .* --quantize dynamic.$"
    with pytest.raises(ConversionError, match=sentence), unrolled(describe(model), "int8"):
        model(np.zeros((1, length, 2), np.float32))


def test_the_length_is_that_of_the_layers_own_sequence(any_keras):
    """The model's input is four times as long as what reaches the recurrent layer."""
    layers = any_keras.layers
    first = any_keras.Input((4 * MAX_UNROLLED_STEPS, 1), name="x")
    model = any_keras.Sequential([first, layers.AveragePooling1D(64), layers.Bidirectional(layers.GRU(2))])
    x = np.random.default_rng(0).normal(size=(1, 4 * MAX_UNROLLED_STEPS, 1)).astype(np.float32)
    expected = np.asarray(model(x, training=False))
    with unrolled(describe(model), "int8") as names:
        np.testing.assert_allclose(np.asarray(model(x, training=False)), expected, atol=1e-5)
    assert len(names) == 2


def test_an_open_length_is_refused(any_keras):
    import tensorflow as tf

    model = any_keras.Sequential([any_keras.Input((None, 2), name="x"), any_keras.layers.GRU(3)])
    trace = tf.function(lambda x: model(x, training=False)).get_concrete_function
    with pytest.raises(ConversionError, match="runs over an unknown number of time steps"):
        with unrolled(describe(model), "int8"):
            trace(tf.TensorSpec((1, None, 2), tf.float32))
