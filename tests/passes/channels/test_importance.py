"""Each criterion gives the score that its paper defines, and no score where it has none."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from edgeopt.data.dataset import load_dataset
from edgeopt.errors import DataError, UsageError
from edgeopt.models.graph.rebuild import read_native
from edgeopt.passes.channels import ChannelPruning
from edgeopt.passes.channels.dependencies import analyse
from edgeopt.passes.channels.gates import run_gated
from edgeopt.passes.channels.importance import CRITERIA, Evidence, loss_function
from edgeopt.training.context import PassContext


def network(keras):
    layers = keras.layers
    inputs = keras.Input((5,), name="x")
    x = layers.Dense(16, activation="relu", name="first")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dense(16, activation="relu", name="second")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="out")(x))


def scores_of(model, criterion, layer, data=None, loss=None, seed=0):
    channel_map = analyse(read_native(model))
    dataset = None if data is None else load_dataset(data)
    function = None if loss is None else loss_function(model, channel_map, loss)
    scores = CRITERIA[criterion](Evidence(channel_map, dataset, function, seed))
    group = next(group for group in channel_map.groups if layer in group.layers)
    return scores[group.units]


def samples(count=64, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, 5)).astype("float32"), generator.integers(0, 3, count)


@pytest.mark.parametrize(("criterion", "norm"), [("l1", 1), ("l2", 2)])
def test_norms_of_filters_relative_to_their_layer(keras, criterion, norm):
    model = network(keras)
    kernel = model.get_layer("first").get_weights()[0]
    expected = np.linalg.norm(kernel, ord=norm, axis=0)
    # One division by a mean of 16 float64 numbers.
    np.testing.assert_allclose(scores_of(model, criterion, "first"), expected / expected.mean(), rtol=1e-6)


def test_tied_layers_are_averaged_and_none_outvotes_the_other(keras):
    layers, inputs = keras.layers, keras.Input((5,), name="x")
    parts = [layers.Dense(16, name=name)(inputs) for name in ("small", "large")]
    model = keras.Model(inputs, layers.Dense(2, name="out")(layers.Add(name="sum")(parts)))
    large = model.get_layer("large")
    large.set_weights([array * 1000.0 for array in large.get_weights()])
    norms = [np.abs(model.get_layer(name).get_weights()[0]).sum(axis=0) for name in ("small", "large")]
    expected = np.mean([norm / norm.mean() for norm in norms], axis=0)
    np.testing.assert_allclose(scores_of(model, "l1", "small"), expected, rtol=1e-6)


def test_batch_norm_scales_and_nothing_where_there_is_no_batch_norm(keras):
    model = network(keras)
    gamma = np.linspace(-1.0, 1.0, 16).astype("float32")
    norm = model.get_layer("norm")
    norm.set_weights([gamma, *norm.get_weights()[1:]])
    np.testing.assert_allclose(scores_of(model, "bn_gamma", "first"), np.abs(gamma), rtol=1e-6)
    assert np.isnan(scores_of(model, "bn_gamma", "second")).all()
    report = ChannelPruning(fraction=0.2, importance="bn_gamma").apply(model, PassContext()).report
    assert {entry.subject: entry.reason for entry in report.skipped}["second"] == "criterion-has-no-score"
    # The smallest scales are the ones in the middle.
    assert report.kept["first"].tolist() == [0, 1, 2, 3, 12, 13, 14, 15]


def test_taylor_is_the_squared_derivative_by_a_gate(keras):
    """Against central differences: their error is O(h^2) of the loss, plus rounding of the loss divided by h."""
    import tensorflow as tf

    model, (inputs, labels) = network(keras), samples(32)
    channel_map = analyse(read_native(model))
    graph = channel_map.graph
    feed = {ref: tf.constant(inputs) for ref in graph.input_names}
    loss = loss_function(model, channel_map, "sparse_categorical_crossentropy")

    def loss_at(gates):
        tensors = run_gated(channel_map, feed, tf.constant(gates, tf.float32))
        return float(tf.reduce_mean(loss(labels, tensors[graph.outputs])))

    scores = CRITERIA["taylor"](Evidence(channel_map, load_dataset((inputs, labels)), loss))
    step = 1e-2
    for unit in channel_map.groups[1].units[:6]:
        up, down = np.ones((2, channel_map.unit_count))
        up[unit], down[unit] = 1 + step, 1 - step
        derivative = (loss_at(up) - loss_at(down)) / (2 * step)
        assert np.sqrt(scores[unit]) == pytest.approx(abs(derivative), abs=2e-4)
    assert scores[channel_map.groups[1].units].max() > 1e-6


def test_taylor_gives_nothing_to_a_channel_that_nobody_reads(keras):
    model = network(keras)
    kernel, bias = model.get_layer("second").get_weights()
    kernel[3] = 0.0
    model.get_layer("second").set_weights([kernel, bias])
    scores = scores_of(model, "taylor", "first", samples(), "sparse_categorical_crossentropy")
    assert scores[3] == 0.0
    assert np.count_nonzero(scores) > 8


def test_apoz_counts_zeros_behind_the_activation(keras):
    layers, inputs = keras.layers, keras.Input((1,), name="x")
    x = layers.Dense(16, activation="relu", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="out")(x))
    bias = np.where(np.arange(16) < 8, 10.0, -10.0)
    kernel = np.zeros((1, 16))
    kernel[0, 7], bias[7] = 1.0, 0.0
    model.get_layer("hidden").set_weights([kernel, bias])
    data = np.concatenate([np.full((24, 1), -1.0), np.full((8, 1), 1.0)]).astype("float32")
    scores = scores_of(model, "apoz", "hidden", data)
    assert scores.tolist() == [1.0] * 7 + [0.25] + [0.0] * 8


def test_entropy_is_zero_for_a_constant_channel_and_log_32_for_an_even_one(keras):
    layers, inputs = keras.layers, keras.Input((4, 4, 1), name="x")
    x = layers.Conv2D(16, 1, name="hidden")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="out")(x))
    kernel = np.zeros((1, 1, 1, 16))
    kernel[..., 5] = 1.0
    model.get_layer("hidden").set_weights([kernel, np.arange(16.0)])
    even = np.linspace(0, 1, 64, endpoint=False).reshape(64, 1, 1, 1) * np.ones((1, 4, 4, 1))
    scores = scores_of(model, "entropy", "hidden", even.astype("float32"))
    # 64 even values fall two to a bin, but for rounding at the edges of bins.
    assert scores[5] == pytest.approx(np.log(32), abs=0.05)
    assert np.delete(scores, 5).tolist() == [0.0] * 15


def test_random_scores_come_from_the_seed(keras):
    model = network(keras)
    first, again, other = (scores_of(model, "random", "first", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_taylor_needs_labels_and_a_loss():
    keras = importlib.import_module("tf_keras")
    model, (inputs, labels) = network(keras), samples()
    taylor = ChannelPruning(fraction=0.5, importance="taylor")
    with pytest.raises(DataError, match=r"needs training data .* train="):
        taylor.apply(model, PassContext())
    with pytest.raises(UsageError, match=r"needs a loss and the model is not compiled; give loss="):
        taylor.apply(model, PassContext(train=(inputs, labels)))
    with pytest.raises(DataError, match="needs labels beside the training data"):
        taylor.apply(model, PassContext(train=inputs, loss="sparse_categorical_crossentropy"))
    with pytest.raises(UsageError, match=r"Received a loss of type int; expected a Keras loss"):
        taylor.apply(model, PassContext(train=(inputs, labels), loss=3))


@pytest.mark.parametrize("losses", ["list", "dict"])
@pytest.mark.parametrize("labels", ["list", "dict"])
def test_taylor_sums_the_losses_of_several_outputs(keras, losses, labels):
    layers = keras.layers
    keras.utils.set_random_seed(1)
    inputs = keras.Input((5,), name="x")
    hidden = layers.Dense(16, activation="relu", name="first")(inputs)
    kind = layers.Dense(3, activation="softmax", name="kind")(hidden)
    amount = layers.Dense(1, name="amount")(hidden)
    model = keras.Model(inputs, [kind, amount])
    x, y = samples()
    sizes = x[:, :1]
    given = {"list": [y, sizes], "dict": {"amount": sizes, "kind": y}}[labels]
    loss = {"list": ["sparse_categorical_crossentropy", "mse"],
            "dict": {"amount": "mse", "kind": "sparse_categorical_crossentropy"}}[losses]  # fmt: skip
    both = scores_of(model, "taylor", "first", (x, given), loss)
    # The same sum as one loss of one model, whose outputs stand beside each other.
    joined = keras.Model(inputs, layers.Concatenate()([kind, amount]))
    get = keras.losses.get

    def total(labels, outputs):
        kinds = get("sparse_categorical_crossentropy")(labels[:, 0], outputs[:, :3])
        return kinds + get("mse")(labels[:, 1:], outputs[:, 3:])

    one = scores_of(joined, "taylor", "first", (x, np.column_stack([y, sizes])), total)
    np.testing.assert_allclose(both, one, rtol=1e-4)
    only = scores_of(keras.Model(inputs, kind), "taylor", "first", (x, y), "sparse_categorical_crossentropy")
    assert np.abs(only / both - 1).max() > 0.1  # the planted bad case: the second loss left out


def test_taylor_takes_the_compiled_loss(keras):
    model, data = network(keras), samples()
    model.compile(loss="sparse_categorical_crossentropy")
    compiled = ChannelPruning(fraction=0.5, importance="taylor").apply(model, PassContext(train=data))
    given = ChannelPruning(fraction=0.5, importance="taylor").apply(
        network_with(keras, model), PassContext(train=data, loss=keras.losses.SparseCategoricalCrossentropy())
    )
    for layer, kept in compiled.report.kept.items():
        np.testing.assert_array_equal(kept, given.report.kept[layer])


def network_with(keras, model):
    twin = network(keras)
    twin.set_weights(model.get_weights())
    return twin


def test_data_of_the_wrong_shape_is_refused_with_both_shapes(keras):
    context = PassContext(train=np.zeros((9, 4), "float32"))
    with pytest.raises(DataError, match=r"gives shape \(9, 4\) for input 'x'; expected \(samples, 5\)"):
        ChannelPruning(fraction=0.5, importance="apoz").apply(network(keras), context)


def test_gradients_that_are_not_finite_are_refused(keras):
    inputs, labels = samples()
    with pytest.raises(DataError, match="gradient that is not finite"):
        ChannelPruning(fraction=0.5, importance="taylor").apply(
            network(keras), PassContext(train=(inputs * np.inf, labels), loss="sparse_categorical_crossentropy")
        )


def test_labels_of_one_number_are_compared_with_their_own_output(keras):
    """Shapes (n,) and (n, 1): without an axis more, each label would be compared with all outputs."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((5,), name="x")
    hidden = keras.layers.Dense(16, activation="relu", name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="size")(hidden))
    x, _ = samples()
    flat, column = (scores_of(model, "taylor", "first", (x, sizes), "mse") for sizes in (x[:, 0], x[:, :1]))
    np.testing.assert_allclose(flat, column, rtol=1e-6)


def test_of_data_that_lie_class_by_class_every_class_is_seen(keras):
    x, y = samples(90)
    order = np.argsort(y, kind="stable")
    seen = set()

    def loss(labels, outputs):
        seen.update(np.asarray(labels).tolist())
        return keras.losses.get("sparse_categorical_crossentropy")(labels, outputs)

    taylor = ChannelPruning(fraction=0.2, of="params", multiple=4, minimum=4, importance="taylor", samples=12)
    taylor.apply(network(keras), PassContext(train=(x[order], y[order]), loss=loss))
    assert seen == {0, 1, 2}
