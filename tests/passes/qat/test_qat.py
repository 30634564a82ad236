"""The pass: options, the two models that come out, what is left float, and what is refused."""

from __future__ import annotations

import importlib
from itertools import pairwise

import numpy as np
import pytest

import edgeopt
from edgeopt.check.model import check_model
from edgeopt.errors import DataError, ModelError, RecipeError, UsageError
from edgeopt.models.graph.rebuild import read_native
from edgeopt.passes.qat import Qat
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

ONE_STEP = Training(epochs=1, batch_size=8)
NO_STEP = Training(epochs=0)


def small_cnn(keras, *, name="small"):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(8, 3, use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.DepthwiseConv2D(3, activation="relu", name="spatial"),
            layers.Flatten(name="flat"),
            layers.Dense(4, activation="softmax", name="classes"),
        ],
        name=name,
    )


def data(model, samples=16, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(samples, *model.input_shape[1:])).astype("float32")
    return x, generator.integers(0, model.output_shape[-1], samples)


def context(model, **options):
    return PassContext(train=data(model), loss="sparse_categorical_crossentropy", **options)


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def trained(request):
    keras = importlib.import_module(request.param)
    keras.utils.set_random_seed(1)
    model = small_cnn(keras)
    before = [np.array(array) for array in model.get_weights()]
    return keras, model, before, Qat(training=ONE_STEP).apply(model, context(model))


def test_the_float_model_is_the_users_own_kind_with_the_same_layers_and_trained_weights(trained):
    keras, model, before, result = trained
    assert isinstance(result.model, keras.Sequential)
    assert [layer.name for layer in result.model.layers] == [layer.name for layer in model.layers]
    after = result.model.get_weights()
    assert [a.shape for a in after] == [b.shape for b in before]
    assert any(not np.array_equal(a, b) for a, b in zip(after, before, strict=True))


def test_the_float_model_saves_and_loads_without_custom_objects(trained, tmp_path):
    keras, model, _, result = trained
    x, _ = data(model)
    result.model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(loaded(x)), np.asarray(result.model(x)))


def test_the_qat_model_has_the_names_of_the_given_model_and_rounds_its_outputs(trained):
    _, model, _, result = trained
    x, _ = data(model)
    assert result.exported.input_names == ["image"]
    assert result.exported.output_names == ["classes"]
    outputs = np.asarray(result.exported(x)) * 256  # softmax: TFLite prescribes steps of 1/256
    np.testing.assert_allclose(outputs, np.round(outputs), atol=1e-4)
    # Rounding moves probabilities by a few steps, not by more: 16/256 is generous for three layers.
    assert np.abs(outputs / 256 - np.asarray(result.model(x))).max() < 16 / 256


def test_the_qat_model_loads_inside_qat_scope(trained, tmp_path):
    import tf_keras

    _, model, _, result = trained
    x, _ = data(model)
    result.exported.save(tmp_path / "qat.keras")
    with edgeopt.qat_scope():
        loaded = tf_keras.models.load_model(tmp_path / "qat.keras")
    np.testing.assert_array_equal(np.asarray(loaded(x)), np.asarray(result.exported(x)))


def test_the_report_tells_what_was_quantised_and_folded(trained):
    *_, result = trained
    layers = {layer.name: layer for layer in result.report.layers}
    assert layers["conv"].norm == "norm"
    assert layers["conv"].grid == layers["classes"].grid == "channel"
    assert result.report.skipped == ()
    assert len(result.report.history) == 1
    assert {"loss", "accuracy"} <= set(result.report.history[0])


def test_ranges_are_those_of_the_data_when_nothing_is_trained():
    """A TFMOT model starts at [-6, 6], and a hundred steps later its ranges are still about there."""
    import tf_keras

    model = small_cnn(tf_keras)
    x, y = data(model)
    x *= 100.0
    result = Qat(training=NO_STEP).apply(model, PassContext(train=(x, y)))
    low, high = result.exported.get_layer("image_quantized").get_weights()
    assert (low, high) == (x.min(), x.max())
    for ours, given in zip(result.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, given)


@pytest.mark.parametrize("invert", [False, True])
def test_what_prepares_a_picture_in_front_of_a_padded_border_keeps_its_numbers(invert):
    import keras

    normalise = keras.layers.Normalization(invert=invert)
    normalise.adapt(np.random.default_rng(0).uniform(0.1, 0.9, (8, 8, 8, 3)))
    front = [keras.layers.Rescaling(1 / 255), normalise]
    model = keras.Sequential([keras.Input((8, 8, 3)), *front, keras.layers.Conv2D(4, 3, padding="same")])
    x = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 3)).astype("float32")
    result = Qat(training=NO_STEP).apply(model, PassContext(train=(x, np.zeros((16, 8, 8, 4))), loss="mse"))
    for ours, given in zip(result.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, given)
    wanted = model.predict(x, verbose=0)
    assert np.abs(result.exported.predict(x, verbose=0) - wanted).max() < 0.03 * np.abs(wanted).max()


def test_a_compiled_model_brings_its_loss():
    import keras

    model = small_cnn(keras)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy())
    result = Qat(training=ONE_STEP).apply(model, PassContext(train=data(model)))
    assert np.isfinite(result.report.history[0]["loss"])


def test_frozen_layers_keep_their_weights():
    import keras

    model = small_cnn(keras)
    model.get_layer("conv").trainable = model.get_layer("norm").trainable = False
    result = Qat(training=ONE_STEP).apply(model, context(model))
    for name in ("conv", "norm"):
        for ours, given in zip(
            result.model.get_layer(name).get_weights(), model.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, given)
    kernels = [m.get_layer("classes").get_weights()[0] for m in (result.model, model)]
    assert not np.array_equal(*kernels)


def test_a_shared_layer_stays_one_layer():
    import tf_keras

    layers = tf_keras.layers
    left, right = tf_keras.Input((6,), name="left"), tf_keras.Input((6,), name="right")
    shared = layers.Dense(5, activation="relu", name="shared")
    outputs = layers.Dense(2, name="out")(layers.Concatenate(name="both")([shared(left), shared(right)]))
    model = tf_keras.Model([left, right], outputs)
    generator = np.random.default_rng(0)
    x = {name: generator.normal(size=(8, 6)).astype("float32") for name in ("left", "right")}
    result = Qat(training=ONE_STEP).apply(model, PassContext(train=(x, np.zeros((8, 2), "float32")), loss="mse"))
    assert len(result.model.get_weights()) == 4
    assert len(result.exported.get_layer("shared").inbound_nodes) == 2


def test_layers_without_an_integer_operator_stay_float_and_are_named():
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="elu", name="conv"),
            layers.LayerNormalization(name="centred"),
            layers.Reshape((6, 24), name="rows"),
            layers.LSTM(4, name="memory"),
            layers.Dense(3, name="out"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")
    result = Qat(training=ONE_STEP).apply(model, PassContext(train=(x, np.zeros((8, 3), "float32")), loss="mse"))
    assert {entry.subject: entry.reason for entry in result.report.skipped} == {
        "conv": "no int8 operator",
        "centred": "unknown layer",
        "memory": "recurrent",
    }
    assert not result.report.fully_int8
    assert result.model.get_layer("memory").get_weights()[0].shape == (24, 16)


def test_a_skipped_layer_is_not_rounded():
    import tf_keras

    model = small_cnn(tf_keras)
    result = Qat(training=NO_STEP, skip=("spatial",)).apply(model, context(model))
    assert [(entry.subject, entry.reason) for entry in result.report.skipped] == [("spatial", "in-skip-list")]
    layer = result.exported.get_layer("spatial_float")
    np.testing.assert_array_equal(layer.get_weights()[0], model.get_layer("spatial").get_weights()[0])


def test_augmentation_is_done_in_training_and_nothing_at_inference(any_keras):
    import tf_keras

    layers = any_keras.layers
    augmenting = [
        layers.RandomFlip(name="flip"),
        layers.RandomRotation(0.2, name="turn"),
        layers.RandomContrast(0.4, name="contrast"),
        layers.GaussianNoise(0.1, name="noise"),
    ]
    last = [layers.Identity(name="same"), layers.Conv2D(4, 3, name="conv")]
    model = any_keras.Sequential([any_keras.Input((8, 8, 3), name="image"), *augmenting, *last])
    x = np.random.default_rng(0).random((8, 8, 8, 3)).astype("float32")
    result = Qat(training=ONE_STEP).apply(model, PassContext(train=(x, np.zeros((8, 6, 6, 4))), loss="mse"))
    assert result.report.skipped == ()
    stages = ["image_quantized", "flip", "turn", "contrast", "noise", "same"]
    trained = result.exported
    parts = tf_keras.Model(trained.inputs, [trained.get_layer(name).output for name in stages])
    for before, after in pairwise(parts(x, training=False)):
        np.testing.assert_array_equal(after, before)
    learning = list(pairwise(parts(x, training=True)))
    assert all(not np.allclose(before, after) for before, after in learning[:-1])
    np.testing.assert_array_equal(*learning[-1])  # Identity


def test_slopes_are_rounded_to_the_grid_of_the_file_and_gradients_pass_through():
    import tensorflow as tf
    from tf_keras import layers

    from edgeopt.passes.qat.layers import QuantizedLayer

    quantized = QuantizedLayer(layers.PReLU(), output=False)
    slopes = np.array([0.35, 1.27, 0.028, -0.5], np.float32)  # the largest makes the steps 0.01
    ones = np.ones((1, 4), np.float32)
    quantized(ones)
    quantized.layer.alpha.assign(slopes)
    expected = np.array([[0.35, 1.27, 0.03, -0.5]])  # 1e-6: float32's rounding of numbers up to 1.27
    for training in (False, True):
        np.testing.assert_allclose(-quantized(-ones, training=training), expected, rtol=0, atol=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantized(-ones, training=True))
    np.testing.assert_allclose(tape.gradient(loss, quantized.layer.alpha), -ones[0], rtol=0, atol=1e-6)
    assert quantized.layer.alpha.numpy()[2] == slopes[2]  # the float weight is kept


def refused(*layers, shape):
    """What is left float before any training, or the refusal."""
    import tf_keras

    from edgeopt.passes.qat.lowering import Choices, lower

    model = tf_keras.Sequential([tf_keras.Input(shape), tf_keras.layers.Dense(2), *layers])
    return [entry.reason for entry in lower(read_native(model), Choices()).skipped]


def test_sequences_too_long_for_any_file_are_refused_before_the_training():
    from tf_keras import layers

    with pytest.raises(ModelError, match="^GRU layer 'memory' returns sequences of 257 time steps, .* up to 256;"):
        refused(layers.GRU(2, return_sequences=True, name="memory"), shape=(257, 2))
    assert refused(layers.GRU(2, return_sequences=True), shape=(256, 2)) == ["recurrent"]
    assert refused(layers.GRU(2), shape=(257, 2)) == ["recurrent"]  # its loop stays a loop


def test_what_tflite_has_no_operator_for_is_refused_before_the_training_by_the_users_names(any_keras):
    layers = any_keras.layers
    volume = any_keras.Input((6, 6, 6, 2), name="volume")
    x = layers.MaxPooling3D(name="shrink")(layers.Dense(4, activation="softsign", name="dense")(volume))
    model = any_keras.Model(volume, layers.Dense(2, name="end")(layers.Flatten(name="flat")(x)))
    message = (
        r"^Dense layer 'dense' needs Softsign, which TFLite lacks; MaxPooling3D layer 'shrink' needs MaxPool3D, which "
        "TFLite lacks: no file could be made of what was trained; replace"
    )
    with pytest.raises(ModelError, match=message):
        Qat().apply(model, PassContext(train=(np.zeros((2, 6, 6, 6, 2)), np.zeros((2, 2))), loss="mse"))
    report = check_model(model, target="qat")
    assert [item.name for item in report.items if item.verdict == "refused"] == ["dense", "shrink"]
    assert report.items[0].remedy == "replace it with layers that TFLite knows"


def test_the_last_step_of_volumes_is_refused_before_the_training():
    from tf_keras import layers

    with pytest.raises(ModelError, match="^ConvLSTM3D layer 'memory' needs StridedSlice on 6 dimensions, which TFLite"):
        refused(layers.ConvLSTM3D(2, 3, name="memory"), shape=(3, 4, 4, 4, 2))
    steps = [layers.ConvLSTM3D(2, 3, return_sequences=True), layers.Flatten(), layers.Dense(2)]
    assert "recurrent" in refused(*steps, shape=(3, 4, 4, 4, 2))


def test_a_locally_connected_layer_is_refused_in_the_one_layout_that_cannot_be_run():
    from tf_keras import layers

    with pytest.raises(ModelError, match="^LocallyConnected1D layer 'local' needs SparseTensorDenseMatMul"):
        refused(layers.LocallyConnected1D(2, 3, implementation=3, name="local"), shape=(8, 2))
    assert refused(layers.LocallyConnected1D(2, 3, implementation=2), shape=(8, 2)) == ["unknown layer"]


def test_masks_are_refused():
    from tf_keras import layers

    with pytest.raises(ModelError, match="^Masking layer 'gaps' gives a mask, .* or convert the float model"):
        refused(layers.Masking(name="gaps"), layers.LSTM(2), shape=(5, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preserve": "sparcity"}, "did you mean 'sparsity'"),
        ({"range_batches": 0}, "range_batches=0; expected a whole number of at least 1"),
        ({"skip": "conv"}, "skip='conv'; expected a list"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        Qat(**options)


def test_an_unknown_layer_is_refused_with_the_nearest_name():
    import tf_keras

    model = small_cnn(tf_keras)
    with pytest.raises(UsageError, match="did you mean 'conv'"):
        Qat(training=NO_STEP, skip=("conw",)).apply(model, context(model))


def test_data_are_needed_and_must_fit():
    import tf_keras

    model = small_cnn(tf_keras)
    with pytest.raises(DataError, match=r"expected \(samples, 8, 8, 3\)"):
        Qat(training=ONE_STEP).apply(
            model, PassContext(train=(np.zeros((4, 9, 9, 3), "float32"), np.zeros(4, "int64")), loss="mse")
        )


@pytest.mark.parametrize("preserve", ["sparsity", "clusters", "both"])
def test_what_is_not_there_cannot_be_preserved(preserve):
    import tf_keras

    model = small_cnn(tf_keras)
    with pytest.raises(UsageError, match="no kernel"):
        Qat(training=NO_STEP, preserve=preserve).apply(model, context(model))


def test_a_model_without_anything_to_quantise_is_refused():
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((4, 6)), tf_keras.layers.LSTM(3, name="memory")])
    x = np.zeros((4, 4, 6), "float32")
    with pytest.raises(ModelError, match="no layer that can be trained quantised: LSTM"):
        Qat(training=NO_STEP).apply(model, PassContext(train=(x, np.zeros((4, 3), "float32"))))


def test_something_that_is_no_keras_model_is_refused():
    with pytest.raises(UsageError, match="expected a Keras model"):
        Qat().apply("model.keras", PassContext(train=(np.zeros((1, 1)), np.zeros(1))))
