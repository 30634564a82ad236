"""Zeros and clusters of earlier passes: still there after training, in the float model and in the file's integers."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.api.convert import convert
from edgeopt.errors import PropertyLostError
from edgeopt.passes.properties import measure_file, measure_model
from edgeopt.passes.qat import Qat
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

pytestmark = pytest.mark.heavy
TRAINING = Training(epochs=2, batch_size=8, learning_rate=0.01)
CLUSTERS = 8


def residual(keras):
    """Convolutions of 3x3 and 1x1, with and without normalisation, behind each other and in parallel."""
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    y = layers.Conv2D(16, 1, use_bias=False, name="inner")(x)
    y = layers.BatchNormalization(name="inner_norm")(y)
    x = layers.ReLU(name="relu")(layers.Add(name="sum")([x, y]))
    x = layers.Conv2D(16, 1, activation="relu", name="pointwise")(x)
    x = layers.Conv2DTranspose(8, 3, strides=2, name="up")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(10, name="classes")(x), name="residual")


KERNELS = ("stem", "inner", "pointwise", "up", "classes")


def sparse(kernel, fraction=0.6):
    limit = np.quantile(np.abs(kernel), fraction)
    return np.where(np.abs(kernel) < limit, 0.0, kernel).astype("float32")


def clustered(kernel, count=CLUSTERS):
    """At most `count` distinct values, not 0: the nearest of evenly spaced ones."""
    values = np.linspace(-np.abs(kernel).max(), np.abs(kernel).max(), count)
    return values[np.abs(kernel[..., np.newaxis] - values).argmin(axis=-1)].astype("float32")


def both(kernel):
    return np.where(sparse(kernel) == 0, 0.0, clustered(kernel)).astype("float32")


PROPERTIES = {"sparsity": sparse, "clusters": clustered, "both": both}


def prepared(keras, change):
    keras.utils.set_random_seed(3)
    model = residual(keras)
    for name in KERNELS:
        layer = model.get_layer(name)
        kernel, *rest = layer.get_weights()
        layer.set_weights([change(kernel), *rest])
    return model


def context(**options):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(24, 8, 8, 3)).astype("float32")
    return PassContext(train=(x, generator.normal(size=(24, 10)).astype("float32")), loss="mse", **options)


def file_of(qat_model):
    return convert(qat_model, isolate=False).model


@pytest.mark.parametrize("what", PROPERTIES)
def test_the_trained_model_keeps_what_it_had(what):
    import keras

    model = prepared(keras, PROPERTIES[what])
    result = Qat(training=TRAINING).apply(model, context())
    assert result.report.preserved == (("clusters", "sparsity") if what == "both" else (what,))
    for name in KERNELS:
        before, after = model.get_layer(name).get_weights()[0], result.model.get_layer(name).get_weights()[0]
        assert not np.array_equal(before, after), name  # it was trained
        if what != "clusters":
            np.testing.assert_array_equal(after == 0, before == 0, err_msg=name)
        if what != "sparsity":
            assert len(np.unique(after)) <= len(np.unique(before)), name


@pytest.mark.parametrize("what", PROPERTIES)
def test_the_integers_of_the_file_keep_it_too(what):
    import keras

    model = prepared(keras, PROPERTIES[what])
    result = Qat(training=TRAINING, preserve=what).apply(model, context(convert=file_of))
    assert result.report.measured_in_file
    assert result.report.fully_int8
    before, after = result.report.before, result.report.after
    for name in KERNELS:
        if what != "clusters":
            assert after[name].zeros >= before[name].zeros, name
        if what != "sparsity":
            # One scale before the normalisation is folded in: the whole kernel has few integers, not only a channel.
            assert after[name].clusters <= before[name].clusters, name


def test_a_sparse_and_clustered_1x1_convolution_is_not_zeroed():
    """As TFMOT is reported to do (model-optimization issue 979)."""
    import keras

    model = prepared(keras, PROPERTIES["both"])
    result = Qat(training=TRAINING, preserve="both").apply(model, context(convert=file_of))
    for name in ("inner", "pointwise"):
        assert 0.5 < result.report.after[name].sparsity < 0.9
        assert result.report.after[name].clusters >= 3


def test_three_values_of_four_weights_and_as_many_zeros_stay_three():
    import tf_keras

    model = tf_keras.Sequential(
        [tf_keras.Input((8, 8, 2)), tf_keras.layers.Conv2D(4, 1, name="point"), tf_keras.layers.GlobalMaxPooling2D()]
    )
    kernel = np.array([[0.0, -0.5, 0.0, 0.2], [0.6, 0.0, -0.5, 0.0]], "float32").reshape(1, 1, 2, 4)
    model.get_layer("point").set_weights([kernel, np.zeros(4)])
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(24, 8, 8, 2)).astype("float32"), generator.normal(size=(24, 4))
    trained = Qat(training=TRAINING).apply(model, PassContext(train=samples, loss="mse")).model
    after = trained.get_layer("point").kernel.numpy()
    assert not np.array_equal(after, kernel)
    assert len(np.unique(after)) == 4
    np.testing.assert_array_equal(after == 0, kernel == 0)


def test_without_preserving_the_property_is_lost():
    """The planted bad case: plain training moves the zeros."""
    import keras

    model = prepared(keras, sparse)
    result = Qat(training=TRAINING, preserve="none").apply(model, context())
    assert result.report.preserved == ()
    assert measure_model(result.model)["stem"].sparsity < 0.05 < measure_model(model)["stem"].sparsity


def test_a_file_that_lost_it_is_an_error():
    import keras

    other = residual(keras)
    lost = file_of(Qat(training=Training(epochs=0)).apply(other, context()).exported)
    assert measure_file(lost, like=measure_model(other))["stem"].sparsity < 0.1
    with pytest.raises(PropertyLostError, match=r"The exported file has \d+ zeros of 432 in 'stem'"):
        Qat(training=Training(epochs=0)).apply(prepared(keras, sparse), context(convert=lambda _: lost))


@pytest.mark.parametrize("what", ["sparsity", "clusters"])
def test_one_of_two_properties_can_be_kept_alone(what):
    import keras

    model = prepared(keras, PROPERTIES["both"])
    result = Qat(training=TRAINING, preserve=what).apply(model, context())
    kernel = result.model.get_layer("pointwise").get_weights()[0]
    assert result.report.preserved == (what,)
    assert (measure_model(result.model)["pointwise"].sparsity > 0.5) == (what == "sparsity")
    assert (len(np.unique(kernel)) <= CLUSTERS + 1) == (what == "clusters")


def test_clusters_are_trained_and_weights_are_not():
    import keras

    model = prepared(keras, clustered)
    qat_model = Qat(training=Training(epochs=0)).apply(model, context()).exported
    names = {weight.name.split("/")[-1] for weight in qat_model.get_layer("classes").trainable_weights}
    assert names == {"centroids:0", "bias:0"}
    kinds = {layer.name: layer.grid for layer in Qat(training=Training(epochs=0)).apply(model, context()).report.layers}
    assert {name: kinds[name] for name in KERNELS} == {
        "stem": "shared",
        "inner": "shared",
        "pointwise": "shared",
        "up": "tensor",
        "classes": "tensor",
    }
