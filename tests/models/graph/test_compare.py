"""The bridge's own check: it must see a wrong weight, and name the layer that holds it."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ConversionError
from edgeopt.models.bridge import RELATIVE_LIMIT, first_divergence, to_keras3, to_tf_keras
from edgeopt.models.graph.compare import verify
from edgeopt.models.graph.read import read_graph
from edgeopt.models.graph.samples import sample_inputs


def small(keras):
    inside = keras.Input((8, 8, 4))
    block = keras.Model(
        inside,
        keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, 3, name="inner")(inside)),
        name="block",
    )
    image = keras.Input((10, 10, 3), name="image")
    x = keras.layers.Conv2D(4, 3, name="stem", activation="relu")(image)
    x = keras.layers.ReLU(name="relu")(block(x))
    return keras.Model(image, keras.layers.Dense(2, name="top")(keras.layers.GlobalAveragePooling2D(name="pool")(x)))


@pytest.mark.parametrize(("layer", "weight"), [("stem", 0), ("inner", 1), ("norm", 0), ("norm", 3), ("top", 0)])
@pytest.mark.parametrize("direction", ["there", "back"])
def test_one_corrupted_weight_is_seen_and_its_layer_named(layer, weight, direction):
    import keras
    import tf_keras

    keras.utils.set_random_seed(0)  # of some draws, no sample gets through the ReLU of the channel that is corrupted
    source = small(keras if direction == "there" else tf_keras)
    bridged = (to_tf_keras if direction == "there" else to_keras3)(source).model
    assert verify(source, bridged)[1] <= RELATIVE_LIMIT
    values = bridged.get_layer(layer).get_weights()
    values[weight].flat[0] += 0.01 * (1.0 + abs(values[weight].flat[0]))
    bridged.get_layer(layer).set_weights(values)
    with pytest.raises(ConversionError, match=rf"first at layer '{layer}' \(\w+\), by .* of its scale"):
        verify(source, bridged)


def test_wrong_setting_is_seen_and_its_layer_named():
    import keras
    import tf_keras

    x = keras.Input((6,), name="x")
    source = keras.Model(x, keras.layers.LeakyReLU(0.3, name="leaky")(keras.layers.Dense(5, name="dense")(x)))
    y = tf_keras.Input((6,), name="x")
    wrong = tf_keras.Model(y, tf_keras.layers.LeakyReLU(0.2, name="leaky")(tf_keras.layers.Dense(5, name="dense")(y)))
    wrong.set_weights(source.get_weights())
    assert "layer 'leaky' (LeakyReLU)" in first_divergence(source, wrong)


def cancelling(keras, offset=-100.0):
    """Values of some 100 that differ by some 0.01 before the 100 is taken away: rounding at 100 is large behind it.

    Float32 has a step of 7.6e-6 at 100, near 1e-3 of what is left; Keras 3 and tf_keras round a BatchNormalization
    otherwise.
    """
    image = keras.Input((6, 6, 4), name="image")
    norm = keras.layers.BatchNormalization(name="norm", beta_initializer=keras.initializers.Constant(100.0))
    x = keras.layers.Rescaling(1.0, offset, name="minus")(norm(keras.layers.Conv2D(4, 1, name="conv")(image)))
    y = keras.layers.Activation("tanh", name="squash")(x)
    model = keras.Model(image, keras.layers.Subtract(name="difference")([x, y]))
    norm.gamma.assign(np.full(4, 0.01, "float32"))
    norm.moving_mean.assign(np.full(4, 0.3, "float32"))
    return model


@pytest.mark.parametrize("direction", ["there", "back"])
def test_rounding_that_a_later_layer_enlarges_is_no_difference_of_a_layer(direction):
    import keras
    import tf_keras

    source = cancelling(keras if direction == "there" else tf_keras)
    result = (to_tf_keras if direction == "there" else to_keras3)(source)
    assert result.relative_difference > RELATIVE_LIMIT
    assert first_divergence(source, result.model) == ""
    # Planted: less than the outputs differ by anyhow, and seen at the layer that it is in.
    kernel, bias = result.model.get_layer("conv").get_weights()
    result.model.get_layer("conv").set_weights([kernel, bias + np.float32(1e-4)])
    with pytest.raises(ConversionError, match=r"first at layer 'conv' \(Conv2D\), by .* on equal inputs"):
        verify(source, result.model)


def test_wrong_wiring_is_seen_where_every_layer_is_right():
    import keras
    import tf_keras

    source = cancelling(keras)
    same = to_tf_keras(source).model
    x, y = same.get_layer("minus").output, same.get_layer("squash").output
    swapped = tf_keras.Model(same.input, tf_keras.layers.Subtract(name="difference")([y, x]))
    with pytest.raises(ConversionError, match="first at layer 'difference'"):
        verify(source, swapped)
    both = keras.Model(source.input, [source.get_layer("minus").output, source.output])
    crossed = tf_keras.Model(same.input, [same.output, x])
    with pytest.raises(ConversionError, match="although every layer that can be compared agrees"):
        verify(both, crossed)


def test_not_a_number_is_a_difference_and_equal_infinities_are_none():
    import keras

    x = keras.Input((2,), name="x")
    source = keras.Model(x, keras.layers.Dense(2, name="dense")(x))
    bridged = to_tf_keras(source).model
    bridged.set_weights([np.full((2, 2), np.nan, "float32"), np.zeros(2, "float32")])
    with pytest.raises(ConversionError, match="differ from the original's by inf"):
        verify(source, bridged)
    for model in (source, bridged):
        model.set_weights([np.zeros((2, 2), "float32"), np.full(2, np.inf, "float32")])
    assert verify(source, bridged) == (0.0, 0.0)


def test_samples_are_in_the_range_that_the_model_is_made_for():
    import keras

    ids, image = keras.Input((5,), dtype="int32", name="ids"), keras.Input((None, 8, 1), name="image")
    signal, plain = keras.Input((50,), name="signal"), keras.Input((50,), name="plain")
    normal = keras.layers.Normalization(axis=None, mean=100.0, variance=1.0)
    outputs = [
        keras.layers.Embedding(7, 2)(ids),
        keras.layers.Rescaling(1 / 255)(keras.layers.ZeroPadding2D(1)(image)),
        normal(signal),
        keras.layers.Dense(1)(plain),
    ]
    graph = read_graph(keras.Model([ids, image, signal, plain], outputs))
    drawn = {graph.input_names[ref]: values for ref, values in sample_inputs(graph, seed=0).items()}
    assert 0 <= drawn["ids"].min() <= drawn["ids"].max() < 7
    assert drawn["image"].shape == (2, 64, 8, 1)
    assert 200 < drawn["image"].max() <= 255
    # 100 standard normal numbers stay within 6 sigma with a probability of 1 - 2e-7
    assert 94 < drawn["signal"].min() < drawn["signal"].max() < 106
    assert np.abs(drawn["plain"]).max() < 6
    again = sample_inputs(graph, seed=0)
    assert all(np.array_equal(values, drawn[graph.input_names[ref]]) for ref, values in again.items())
