"""Clustering: no more values than asked for, zeros where they were, in the flavour that was given."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ModelError, RecipeError, UsageError
from edgeopt.passes.cluster.cluster import Cluster
from edgeopt.passes.properties import check_kept, measure_model
from edgeopt.passes.prune.prune import Prune
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

ONE_SHOT = Training(epochs=0)
CLUSTERED = ("first", "middle", "hidden", "classes")


def net(keras):
    """Image -> 2 convolutions, a depthwise one, 2 dense layers."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 4), name="image"),
            layers.Conv2D(8, 3, use_bias=False, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Conv2D(12, 1, name="middle"),
            layers.Flatten(name="flat"),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(4, name="classes"),
        ],
        name="net",
    )


@pytest.fixture(scope="module")
def samples():
    generator = np.random.default_rng(0)
    return generator.normal(size=(40, 8, 8, 4)).astype("float32"), generator.integers(0, 4, 40)


def context(samples, **extra):
    return PassContext(train=samples, loss="sparse_categorical_crossentropy", **extra)


def one_shot(model, **options):
    return Cluster(training=ONE_SHOT, **options).apply(model, PassContext())


def test_each_weight_goes_to_its_nearest_centroid_and_the_model_given_stays(keras):
    model = net(keras)
    before = [weight.numpy().copy() for weight in model.weights]
    result = one_shot(model, clusters=8)
    assert isinstance(result.model, keras.Model)
    assert all((weight.numpy() == old).all() for weight, old in zip(model.weights, before, strict=True))
    old, new = model.get_layer("hidden").kernel.numpy(), result.model.get_layer("hidden").kernel.numpy()
    centroids = np.unique(new)
    assert len(centroids) <= 8
    nearest = np.min(np.abs(old[..., np.newaxis] - centroids), axis=-1)
    np.testing.assert_allclose(np.abs(old - new), nearest, atol=1e-7)  # float32 rounding of values below 1


@pytest.mark.parametrize("initialization", ["kmeans++", "linear", "density", "random"])
@pytest.mark.parametrize("preserve_sparsity", [False, True])
def test_no_initialization_exceeds_the_number(initialization, preserve_sparsity):
    import tf_keras

    model = Prune(sparsity=0.5, training=ONE_SHOT).apply(net(tf_keras), PassContext()).model
    result = one_shot(model, clusters=6, initialization=initialization, preserve_sparsity=preserve_sparsity)
    assert [layer.name for layer in result.report.layers] == list(CLUSTERED)
    assert all(layer.after <= 6 for layer in result.report.layers)
    if preserve_sparsity:
        assert all(layer.sparsity_after >= layer.sparsity_before == 0.5 for layer in result.report.layers)


def test_random_centroids_follow_the_seed():
    import tf_keras

    model = net(tf_keras)
    runs = [
        Cluster(clusters=4, initialization="random", training=ONE_SHOT).apply(model, PassContext(seed=seed)).model
        for seed in (1, 1, 2)
    ]
    first, again, other = (run.get_layer("hidden").kernel.numpy() for run in runs)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.heavy
def test_training_moves_the_centroids_and_keeps_their_number(keras, samples, tmp_path):
    model = net(keras)
    result = Cluster(clusters=8, training=Training(epochs=1, batch_size=8)).apply(model, context(samples))
    still = one_shot(model, clusters=8)
    assert all(layer.after <= 8 for layer in result.report.layers) and "loss" in result.report.history[0]
    trained, untrained = (run.model.get_layer("hidden").kernel.numpy() for run in (result, still))
    assert not np.isin(np.unique(trained), np.unique(untrained)).all()
    result.model.save(tmp_path / "clustered.keras")
    assert measure_model(keras.models.load_model(tmp_path / "clustered.keras")) == measure_model(result.model)


@pytest.mark.heavy
def test_zeros_of_a_pruned_model_outlive_the_training(samples):
    import tf_keras

    pruned = Prune(sparsity=0.75, training=ONE_SHOT).apply(net(tf_keras), PassContext()).model
    options = {"clusters": 8, "training": Training(epochs=1, batch_size=8, learning_rate=0.05)}
    kept = Cluster(**options, preserve_sparsity=True).apply(pruned, context(samples)).model
    zeros = {name: pruned.get_layer(name).kernel.numpy() == 0 for name in CLUSTERED}
    assert all((kept.get_layer(name).kernel.numpy()[zeros[name]] == 0).all() for name in CLUSTERED)
    check_kept(measure_model(pruned), measure_model(kept))
    lost = Cluster(**options).apply(pruned, context(samples)).model
    assert any((lost.get_layer(name).kernel.numpy()[zeros[name]] != 0).any() for name in CLUSTERED)


def test_layers_have_numbers_of_their_own_and_the_rest_a_reason(keras):
    result = one_shot(net(keras), clusters=8, layers={"hidden": 3}, skip=("classes",))
    assert {layer.name: layer.target for layer in result.report.layers} == {"first": 8, "middle": 8, "hidden": 3}
    reasons = {entry.subject: entry.reason for entry in result.report.skipped}
    assert reasons == {"classes": "in-skip-list", "depthwise": "depthwise"}
    assert [layer.name for layer in one_shot(net(keras), layers={"hidden": 3}).report.layers] == ["hidden"]


def test_frozen_and_small_kernels_are_left_out(build, keras):
    result = one_shot(build("nested", keras), clusters=100)
    reasons = {entry.subject: entry.reason for entry in result.report.skipped}
    assert reasons == {"stem": "frozen", "spatial": "depthwise", "classes": "too-few-weights"}
    assert [layer.name for layer in result.report.layers] == ["hidden"]


def test_recurrent_kernels_are_clustered(keras):
    model = keras.Sequential(
        [
            keras.Input((6, 4), name="sequence"),
            keras.layers.Conv1D(8, 3, name="conv"),
            keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True), name="both"),
            keras.layers.LSTM(4, name="memory"),
        ],
        name="recurrent",
    )
    result = one_shot(model, clusters=5)
    assert len(result.report.layers) == 7 and all(layer.after <= 5 for layer in result.report.layers)


def test_attention_is_clustered_trained_and_given_back_in_its_order(keras):
    query, value = keras.Input((8, 12), name="query"), keras.Input((6, 12), name="value")
    attended = keras.layers.MultiHeadAttention(2, 4, name="attention")(query, value)
    model = keras.Model([query, value], attended, name="attending")
    generator = np.random.default_rng(0)
    x = {name: generator.normal(size=(32, steps, 12)) for name, steps in (("query", 8), ("value", 6))}
    training = Training(epochs=1)
    result = Cluster(clusters=4, training=training).apply(
        model, PassContext(train=(x, generator.normal(size=(32, 8, 12))), loss="mse")
    )
    parts = ("query", "key", "value", "attention_output")
    assert [layer.name for layer in result.report.layers] == [f"attention/{part}/kernel" for part in parts]
    assert all(layer.after <= 4 for layer in result.report.layers)


@pytest.mark.parametrize("implementation", [2, 3])
def test_locally_connected_kernels_are_pruned_and_clustered_however_they_lie(implementation):
    import tf_keras

    local = tf_keras.layers.LocallyConnected2D(3, 3, implementation=implementation, name="local")
    model = tf_keras.Sequential([tf_keras.Input((6, 6, 2)), local], name="connected")
    pruned = Prune(layers={"local": 0.5}, training=ONE_SHOT).apply(model, PassContext())
    assert pruned.report.layers[0].after == pytest.approx(0.5, abs=0.01)
    assert one_shot(model, clusters=5).report.layers[0].after <= 5


def test_the_report_is_json_and_text(keras):
    report = one_shot(net(keras), clusters=8).report
    values = report.to_dict()
    assert values["layers"][0]["name"] == "first" and values["layers"][0]["after"] <= 8
    assert values["initialization"] == "kmeans++" and values["training"]["epochs"] == 0
    assert "depthwise: not clustered, depthwise" in str(report)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"Received no target; give clusters=16"),
        ({"clusters": 1}, r"Received clusters=1; expected a whole number of at least 2"),
        ({"clusters": 2, "preserve_sparsity": True}, r"at least 3 \(zero is one of them\)"),
        ({"clusters": 8, "skip": "conv"}, r"Received skip='conv'; expected a list of layer names"),
        ({"clusters": 2.5}, r"Received clusters=2.5"),
        ({"layers": {"a": True}}, r"Received layers\['a'\]=True"),
        ({"clusters": 8, "initialization": "kmeans"}, r"did you mean 'kmeans\+\+'"),
    ],
)
def test_bad_options_are_refused_before_anything_loads(options, message):
    with pytest.raises(RecipeError, match=message):
        Cluster(**options)


def test_layers_that_do_not_exist_or_cannot_be_clustered(keras):
    with pytest.raises(UsageError, match=r"skip names 'hidde', which is no layer of the model; did you mean 'hidden'"):
        one_shot(net(keras), clusters=8, skip=("hidde",))
    with pytest.raises(ModelError, match=r"layers names 'depthwise' \(DepthwiseConv2D\), which cannot be clustered"):
        one_shot(net(keras), layers={"depthwise": 4})
    with pytest.raises(ModelError, match=r"has nothing to cluster: no layer of it has a kernel"):
        one_shot(keras.Sequential([keras.Input((4,)), keras.layers.ReLU()], name="bare"), clusters=4)
