"""Pruning: the target is reached, in the pattern asked for, in the flavour that was given."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import DataError, ModelError, RecipeError, UsageError
from edgeopt.passes.properties import measure_model
from edgeopt.passes.prune.prune import Prune
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

ONE_SHOT = Training(epochs=0)


def net(keras):
    """Image -> 2 convolutions, a depthwise one, 2 dense layers."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4), name="image"),
            layers.Conv2D(8, 3, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Conv2D(12, 1, name="middle"),
            layers.Flatten(name="flat"),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(3, name="classes"),
        ],
        name="net",
    )
    return model


@pytest.fixture(scope="module")
def samples():
    generator = np.random.default_rng(0)
    return generator.normal(size=(40, 8, 8, 4)).astype("float32"), generator.integers(0, 3, 40)


def context(samples, **extra):
    return PassContext(train=samples, loss="sparse_categorical_crossentropy", **extra)


def one_shot(model, **options):
    return Prune(training=ONE_SHOT, **options).apply(model, PassContext())


def test_the_smallest_weights_go(keras):
    model = net(keras)
    result = one_shot(model, sparsity=0.5)
    before, after = model.get_layer("hidden").kernel.numpy(), result.model.get_layer("hidden").kernel.numpy()
    assert np.abs(before[after == 0]).max() < np.abs(after[after != 0]).min()
    np.testing.assert_array_equal(after[after != 0], before[after != 0])
    assert isinstance(result.model, keras.Model) and not np.any(before == 0)


@pytest.mark.heavy
def test_training_reaches_the_target_and_returns_the_flavour_given(keras, samples, tmp_path):
    result = Prune(sparsity=0.75, training=Training(epochs=2, batch_size=8)).apply(net(keras), context(samples))
    # 3 x 3 x 4 x 8 = 288 weights and so on: all sizes here are multiples of four
    assert {layer.name: layer.after for layer in result.report.layers} == {
        name: 0.75 for name in ("first", "middle", "hidden", "classes")
    }
    assert len(result.report.history) == 2 and "loss" in result.report.history[0]
    result.model.save(tmp_path / "pruned.keras")
    again = keras.models.load_model(tmp_path / "pruned.keras")
    assert measure_model(again) == measure_model(result.model)


@pytest.mark.heavy
def test_training_goes_on_with_what_is_left(samples):
    import tf_keras

    model = net(tf_keras)
    result = Prune(sparsity=0.5, training=Training(epochs=1, batch_size=8)).apply(model, context(samples))
    kernel, old = result.model.get_layer("hidden").kernel.numpy(), model.get_layer("hidden").kernel.numpy()
    assert np.all(kernel[kernel != 0] != old[kernel != 0])


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("schedule", "begin", "end"), [("polynomial", 0.0, 1.0), ("polynomial", 0.5, 0.6), ("constant", 2, 4)]
)
def test_short_runs_reach_the_target_too(schedule, begin, end, samples):
    import tf_keras

    options = {"sparsity_schedule": schedule, "begin": begin, "end": end, "training": Training(epochs=1, batch_size=8)}
    result = Prune(sparsity=0.5, **options).apply(net(tf_keras), context(samples))
    assert all(layer.after == 0.5 for layer in result.report.layers)


@pytest.mark.heavy
def test_an_early_stop_does_not_leave_the_target_short(samples):
    import tf_keras

    training = Training(epochs=6, batch_size=8, early_stop={"metric": "loss", "patience": 0, "min_delta": 100.0})
    result = Prune(sparsity=0.75, begin=0.5, end=1.0, training=training).apply(net(tf_keras), context(samples))
    assert len(result.report.history) < 6
    assert all(layer.after == 0.75 for layer in result.report.layers)


def test_layers_have_targets_of_their_own(keras):
    result = one_shot(net(keras), sparsity=0.5, layers={"hidden": 0.9, "first": 0.25})
    assert {layer.name: layer.target for layer in result.report.layers} == {
        "first": 0.25,
        "middle": 0.5,
        "hidden": 0.9,
        "classes": 0.5,
    }
    assert measure_model(result.model)["hidden"].sparsity == pytest.approx(0.9, abs=1e-3)


def test_without_a_common_target_only_the_layers_named_are_pruned(keras):
    result = one_shot(net(keras), layers={"hidden": 0.5})
    assert [layer.name for layer in result.report.layers] == ["hidden"]
    assert {entry.subject: entry.reason for entry in result.report.skipped} == {
        "first": "no-target",
        "depthwise": "depthwise",
        "middle": "no-target",
        "classes": "no-target",
    }


def test_skip_list_and_end_layers_stay(keras):
    result = one_shot(net(keras), sparsity=0.5, skip=("middle",), keep_first=True, keep_last=True)
    assert [layer.name for layer in result.report.layers] == ["hidden"]
    reasons = {entry.subject: entry.reason for entry in result.report.skipped}
    assert reasons == {
        "first": "first-layer",
        "middle": "in-skip-list",
        "classes": "last-layer",
        "depthwise": "depthwise",
    }
    assert measure_model(result.model)["first"].zeros == 0


def test_a_layer_that_is_named_is_pruned_even_at_the_end(keras):
    result = one_shot(net(keras), sparsity=0.5, layers={"classes": 0.25}, keep_last=True)
    assert measure_model(result.model)["classes"].sparsity == 0.25


@pytest.mark.heavy
def test_two_of_four_along_the_input_channels(samples):
    import tf_keras

    result = Prune(m_by_n=(2, 4), training=Training(epochs=1, batch_size=8)).apply(net(tf_keras), context(samples))
    for name in ("first", "middle", "hidden", "classes"):
        kernel = result.model.get_layer(name).kernel.numpy()
        rows = np.moveaxis(kernel, -1, 0).reshape(kernel.shape[-1], -1, kernel.shape[-2])
        groups = rows.reshape(*rows.shape[:2], -1, 4)
        assert (np.count_nonzero(groups, axis=-1) <= 2).all(), name
    assert result.report.pattern == "2:4"


def test_two_of_four_leaves_out_kernels_that_it_does_not_fit(build, keras):
    result = one_shot(build("u_net", keras), m_by_n=(2, 4))
    reasons = {entry.subject: entry.reason for entry in result.report.skipped}
    assert reasons == {"up_24": "m-by-n-needs-dense-or-conv2d", "up_16": "m-by-n-needs-dense-or-conv2d"}


def test_blocks_of_dense_kernels(keras):
    result = one_shot(net(keras), sparsity=0.5, block_size=(4, 2), skip=("classes",))
    kernel = result.model.get_layer("hidden").kernel.numpy()
    blocks = (kernel == 0).reshape(kernel.shape[0] // 4, 4, kernel.shape[1] // 2, 2).sum(axis=(1, 3))
    assert set(np.unique(blocks)) == {0, 8} and (blocks == 8).mean() == pytest.approx(0.5, abs=0.02)
    assert {entry.reason for entry in result.report.skipped if entry.subject == "middle"} == {"blocks-need-dense"}


def test_blocks_on_a_convolution_are_refused_with_the_reason(keras):
    with pytest.raises(ModelError, match=r"layers names 'first' \(Conv2D\), .* TFMOT refuses them on convolutions"):
        one_shot(net(keras), layers={"first": 0.5}, block_size=(4, 1))


@pytest.mark.heavy
def test_random_is_a_baseline_that_ignores_magnitudes(samples):
    import tf_keras

    options = {"sparsity": 0.5, "criterion": "random", "training": Training(epochs=1, batch_size=8)}
    model = net(tf_keras)
    result = Prune(**options).apply(model, context(samples, seed=3))
    kernel, old = result.model.get_layer("hidden").kernel.numpy(), model.get_layer("hidden").kernel.numpy()
    assert np.mean(kernel == 0) == 0.5
    big = np.abs(old) > np.median(np.abs(old))
    # of 3072 weights half are big: a fair draw zeroes half of these, give or take 5 standard deviations (0.05)
    assert np.mean(kernel[big] == 0) == pytest.approx(0.5, abs=0.065)
    again = Prune(**options).apply(model, context(samples, seed=3))
    assert np.array_equal(again.model.get_layer("hidden").kernel.numpy() == 0, kernel == 0)


@pytest.mark.heavy
def test_what_is_zero_already_stays_zero(samples):
    import tf_keras

    first = one_shot(net(tf_keras), sparsity=0.75).model
    zeros = first.get_layer("hidden").kernel.numpy() == 0
    options = {"sparsity": 0.25, "training": Training(epochs=1, batch_size=8)}
    kept = Prune(**options).apply(first, context(samples)).model.get_layer("hidden").kernel.numpy()
    assert (kept[zeros] == 0).all()
    lost = Prune(**options, keep_zeros=False).apply(first, context(samples)).model.get_layer("hidden").kernel.numpy()
    assert np.mean(lost == 0) == pytest.approx(0.25, abs=0.01)


def test_recurrent_and_transposed_kernels_are_pruned(keras):
    model = keras.Sequential(
        [
            keras.Input((6, 4), name="sequence"),
            keras.layers.Conv1DTranspose(4, 3, name="up"),
            keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True), name="both"),
            keras.layers.LSTM(4, name="memory"),
        ],
        name="recurrent",
    )
    found = measure_model(one_shot(model, sparsity=0.5).model)
    assert len(found) == 7 and all(item.sparsity == 0.5 for item in found.values())


@pytest.mark.heavy
def test_attention_is_pruned_and_computes_on(keras, samples):
    sequence = keras.Input((5, 8), name="sequence")
    x = keras.layers.MultiHeadAttention(2, 4, name="attention")(sequence, sequence)
    model = keras.Model(sequence, keras.layers.Dense(8, name="out")(x), name="attends")
    data = np.random.default_rng(0).normal(size=(16, 5, 8)).astype("float32")
    result = Prune(sparsity=0.5, training=Training(epochs=1, batch_size=8)).apply(
        model, PassContext(train=(data, data), loss="mse")
    )
    assert len(result.report.layers) == 5 and all(layer.after == 0.5 for layer in result.report.layers)


def test_masked_layers_are_left_out(keras):
    words = keras.Input((6,), dtype="int32", name="words")
    x = keras.layers.Embedding(10, 4, mask_zero=True, name="embedding")(words)
    model = keras.Model(words, keras.layers.Dense(2, name="classes")(keras.layers.LSTM(3, name="memory")(x)), name="m")
    result = one_shot(model, sparsity=0.5)
    assert {entry.subject: entry.reason for entry in result.report.skipped} == {
        "embedding": "masked",
        "memory": "masked",
    }


def test_the_report_is_json_and_text(keras):
    report = one_shot(net(keras), sparsity=0.5).report
    values = report.to_dict()
    assert values["layers"][0] == {"name": "first", "target": 0.5, "before": 0.0, "after": 0.5, "size": 288}
    assert values["training"]["epochs"] == 0 and 0.4 < values["sparsity"] < 0.5
    assert "depthwise: not pruned, depthwise" in str(report)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, r"Received sparsity=1.0; expected the fraction of zeros, in \[0, 1\)"),
        ({"sparsity": -0.1}, r"Received sparsity=-0.1; expected"),
        ({"sparsity": float("nan")}, r"Received sparsity=nan; expected"),
        ({"layers": {"a": 80}}, r"Received layers\['a'\]=80; expected"),
        ({}, r"Received no target; give sparsity"),
        ({"sparsity": 0.5, "sparsity_schedule": "polynomal"}, r"did you mean 'polynomial'"),
        ({"sparsity": 0.5, "criterion": "l1"}, r"expected one of magnitude, random"),
        ({"m_by_n": (2, 4), "training": Training(strategy="mirrored")}, "m_by_n together with a strategy"),
        (
            {"sparsity": 0.5, "criterion": "random", "training": Training(strategy="mirrored")},
            "criterion='random' together",
        ),
        ({"sparsity": 0.5, "m_by_n": (2, 4)}, r"m_by_n together with sparsity"),
        ({"m_by_n": (4, 2)}, r"Received m_by_n=\(4, 2\); expected \(m, n\)"),
        ({"sparsity": 0.5, "block_size": (0, 4)}, "a number of block_size=0; expected a whole number of at least 1"),
        ({"sparsity": 0.5, "begin": 2.0}, r"Received begin=2.0; expected a step"),
        ({"sparsity": 0.5, "frequency": 0}, r"Received frequency=0; expected a whole number of at least 1"),
        ({"sparsity": 0.5, "skip": "conv"}, r"Received skip='conv'; expected a list of layer names"),
        ({"sparsity": 0.5, "power": 0}, r"Received power=0; expected a positive exponent"),
        ({"layers": "conv"}, r"Received layers='conv'; expected a table of layer names"),
        ({"sparsity": 0.5, "block_size": 4}, r"Received block_size=4; expected two whole numbers"),
        ({"sparsity": 0.5, "begin": 0.8, "end": 0.2}, r"expected the pruning to begin before it ends"),
        ({"sparsity": 0.5, "initial_sparsity": 0.9}, r"initial_sparsity=0.9 and a target of 0.5"),
        ({"sparsity": 0.5, "training": Training(mixed_precision="mixed_float16")}, "cannot train with mixed_float16"),
    ],
)
def test_bad_options_are_refused_before_anything_loads(options, message):
    with pytest.raises(RecipeError, match=message):
        Prune(**options)


def test_an_unknown_layer_is_answered_with_the_nearest(keras):
    with pytest.raises(
        UsageError, match=r"layers names 'hidde', which is no layer of the model; did you mean 'hidden'"
    ):
        one_shot(net(keras), layers={"hidde": 0.5})


def test_nothing_to_prune_is_an_error(keras):
    with pytest.raises(ModelError, match=r"has nothing to prune: no layer of it has a kernel"):
        one_shot(keras.Sequential([keras.Input((4,)), keras.layers.ReLU()], name="bare"), sparsity=0.5)


def test_data_that_do_not_fit(keras, samples):
    with pytest.raises(DataError, match=r"expected \(samples, 8, 8, 4\)"):
        Prune(sparsity=0.5).apply(net(keras), context((samples[0][:, :4], samples[1])))


def test_a_schedule_longer_than_the_run_is_refused(keras, samples):
    with pytest.raises(RecipeError, match=r"for a run of 5 steps"):
        Prune(sparsity=0.5, end=100, training=Training(epochs=1, batch_size=8)).apply(net(keras), context(samples))
