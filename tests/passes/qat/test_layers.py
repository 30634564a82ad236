"""Every layer that is said to become integer does, and the file computes what the QAT model computes."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.api.convert import convert
from edgeopt.passes.qat import Qat
from edgeopt.training.context import PassContext
from edgeopt.training.options import Training

IMAGE, ROW, SIGNAL = (8, 8, 4), (12,), (16, 4)


def conv(layers, activation):
    return [layers.Conv2D(6, 3, activation=activation, name="conv")]


def norm_behind(layers, layer):
    return [layer, layers.BatchNormalization(name="norm"), layers.ReLU(name="relu")]


# name -> input shape, the layers, and the operators of the file (RESHAPE and QUANTIZE aside).
CHAINS = {
    "Conv2D+BN+ReLU": (IMAGE, lambda k: norm_behind(k, k.Conv2D(6, 3, name="l")), {"CONV_2D": 1}),
    "DepthwiseConv2D+BN+ReLU": (
        IMAGE,
        lambda k: norm_behind(k, k.DepthwiseConv2D(3, depth_multiplier=2, name="l")),
        {"DEPTHWISE_CONV_2D": 1},
    ),
    "Conv2DTranspose+BN+ReLU": (
        IMAGE,
        lambda k: norm_behind(k, k.Conv2DTranspose(6, 3, strides=2, name="l")),
        {"TRANSPOSE_CONV": 1},
    ),
    "Dense+BN+ReLU": (ROW, lambda k: norm_behind(k, k.Dense(6, name="l")), {"FULLY_CONNECTED": 1}),
    "Conv1D+BN+ReLU": (SIGNAL, lambda k: norm_behind(k, k.Conv1D(6, 3, name="l")), {"CONV_2D": 1}),
    "causal Conv1D": (SIGNAL, lambda k: [k.Conv1D(6, 3, padding="causal", name="l")], {"CONV_2D": 1, "PAD": 1}),
    "DepthwiseConv1D": (SIGNAL, lambda k: [k.DepthwiseConv1D(3, name="l")], {"DEPTHWISE_CONV_2D": 1}),
    "Conv1DTranspose": (SIGNAL, lambda k: [k.Conv1DTranspose(6, 3, name="l")], {"TRANSPOSE_CONV": 1}),
    "SeparableConv1D+BN": (
        SIGNAL,
        lambda k: norm_behind(k, k.SeparableConv1D(6, 3, name="l")),
        {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1},
    ),
    "SeparableConv2D": (
        IMAGE,
        lambda k: [k.SeparableConv2D(6, 3, activation="relu", name="l")],
        {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1},
    ),
    "BN alone": (IMAGE, lambda k: [k.BatchNormalization(name="l"), k.ReLU()], {"DEPTHWISE_CONV_2D": 1}),
    "BN on a signal": (SIGNAL, lambda k: [k.BatchNormalization(name="l")], {"DEPTHWISE_CONV_2D": 1}),
    "BN on rows": (ROW, lambda k: [k.BatchNormalization(name="l")], {"DEPTHWISE_CONV_2D": 1}),
    "Rescaling": (IMAGE, lambda k: [k.Rescaling(0.5, offset=-1.0, name="l")], {"DEPTHWISE_CONV_2D": 1}),
    "Normalization": (
        IMAGE,
        lambda k: [k.Normalization(mean=[0.1, 0.2, -0.3, 0.0], variance=[1.0, 2.0, 0.5, 1.5], name="l")],
        {"DEPTHWISE_CONV_2D": 1},
    ),
    "Rescaling of a picture": (
        IMAGE,
        lambda k: [k.Rescaling(0.5, name="l"), k.ZeroPadding2D(1), k.Conv2D(6, 3, padding="same", use_bias=False)],
        {"CONV_2D": 1, "PAD": 1},
    ),
    "Normalization of a picture": (
        IMAGE,
        lambda k: [
            k.Normalization(mean=[0.1, 0.2, -0.3, 0.0], variance=[1.0, 2.0, 0.5, 1.5], name="l"),
            *(k.Rescaling(0.5, offset=0.2), k.Conv2D(6, 3), k.BatchNormalization(), k.ReLU()),
        ],
        {"CONV_2D": 1},
    ),
    "Rescaling into a depthwise convolution": (
        IMAGE,
        lambda k: [k.Rescaling(0.5, offset=-1.0, name="l"), k.DepthwiseConv2D(3, depth_multiplier=2)],
        {"DEPTHWISE_CONV_2D": 1},
    ),
    "an offset in front of a padded border": (
        IMAGE,
        lambda k: [k.Rescaling(0.5, offset=-1.0, name="l"), k.Conv2D(6, 3, padding="same")],
        {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1},
    ),
    "several layers in front of a padded border": (
        IMAGE,
        lambda k: [
            *(k.Rescaling(0.5, name="l"), k.Normalization(mean=[0.1, 0.2, -0.3, 0.0], variance=[1.0, 2.0, 0.5, 1.5])),
            *(k.Rescaling(2.0, offset=-1.0), k.ReLU(), k.Conv2D(6, 3, padding="same")),
        ],
        {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1},
    ),
    "PReLU": (
        IMAGE,
        lambda k: [k.PReLU(shared_axes=[1, 2], alpha_initializer="glorot_uniform", name="l")],
        {"PRELU": 1},
    ),
    "LeakyReLU": (IMAGE, lambda k: [k.LeakyReLU(name="l")], {"LEAKY_RELU": 1}),
    "ReLU6 after a pool": (IMAGE, lambda k: [k.MaxPooling2D(), k.ReLU(max_value=6.0)], {"MAX_POOL_2D": 1}),
    "hard_silu": (IMAGE, lambda k: conv(k, "hard_silu"), {"CONV_2D": 1, "HARD_SWISH": 1}),
    "hard_sigmoid": (IMAGE, lambda k: conv(k, "hard_sigmoid"), {"ADD": 1, "CONV_2D": 1, "MUL": 1}),
    "silu": (IMAGE, lambda k: conv(k, "silu"), {"CONV_2D": 1, "LOGISTIC": 1, "MUL": 1}),
    "gelu": (IMAGE, lambda k: conv(k, "gelu"), {"CONV_2D": 1, "GELU": 1}),
    "tanh": (IMAGE, lambda k: conv(k, "tanh"), {"CONV_2D": 1, "TANH": 1}),
    "sigmoid": (IMAGE, lambda k: conv(k, "sigmoid"), {"CONV_2D": 1, "LOGISTIC": 1}),
    "Softmax": (ROW, lambda k: [k.Softmax(name="l")], {"SOFTMAX": 1}),
    "shapes": (
        IMAGE,
        lambda k: [
            k.LeakyReLU(),
            k.ZeroPadding2D(1),
            k.UpSampling2D(2),
            k.Cropping2D(1),
            k.Permute((2, 1, 3)),
            k.Dropout(0.5),
            k.AveragePooling2D(2),
            k.Reshape((81, 4)),
        ],
        {
            "AVERAGE_POOL_2D": 1,
            "LEAKY_RELU": 1,
            "PAD": 1,
            "RESIZE_NEAREST_NEIGHBOR": 1,
            "STRIDED_SLICE": 1,
            "TRANSPOSE": 1,
        },
    ),
    "training only": (
        IMAGE,
        lambda k: [
            *(k.RandomFlip(), k.RandomRotation(0.1), k.RandomZoom(0.1), k.RandomTranslation(0.1, 0.1)),
            *(k.SpatialDropout2D(0.1), k.GaussianNoise(0.1), k.Identity(), k.ActivityRegularization(0.1)),
            k.Conv2D(6, 3, name="l"),
        ],
        {"CONV_2D": 1},
    ),
    "UpSampling1D and ZeroPadding1D": (SIGNAL, lambda k: [k.LeakyReLU(), k.ZeroPadding1D(1), k.UpSampling1D(2)], None),
    "bilinear UpSampling2D": (
        IMAGE,
        lambda k: [k.LeakyReLU(), k.UpSampling2D(2, interpolation="bilinear")],
        {"LEAKY_RELU": 1, "RESIZE_BILINEAR": 1},
    ),
    "GlobalAveragePooling2D": (IMAGE, lambda k: [k.GlobalAveragePooling2D(name="l")], {"MEAN": 1}),
}

MERGES = {
    "Add": {"ADD": 1},
    "Subtract": {"SUB": 1},
    "Multiply": {"MUL": 1},
    "Average": {"ADD": 1, "MUL": 1},
    "Maximum": {"MAXIMUM": 1},
    "Minimum": {"MINIMUM": 1},
    "Concatenate": {"CONCATENATION": 1},
}


def randomise(model):
    """No weight at a value at which two of them could be swapped unseen, or a normalisation do nothing."""
    generator = np.random.default_rng(1)
    for weight in model.weights:
        if any(word in weight.name for word in ("gamma", "variance")):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif any(word in weight.name for word in ("beta", "bias", "moving_mean")):
            weight.assign(generator.uniform(-0.5, 0.5, weight.shape))
    return model


def trained_and_converted(model, running, **options):
    """Return the report, the file's sidecar, and the largest difference of file and QAT model in output steps."""
    generator = np.random.default_rng(0)
    x = {name: generator.normal(size=(8, *shape[1:])) for name, shape in inputs_of(model).items()}
    x = {name: array.astype("float32") for name, array in x.items()}
    result = Qat(training=Training(epochs=0), **options).apply(model, PassContext(train=(x, np.zeros((8, 1)))))
    artifact = convert(result.exported, isolate=False)
    file = running(artifact.model)
    (step,) = file.steps()
    expected = result.exported.predict(x if len(x) > 1 else next(iter(x.values())), verbose=0)
    rows = [file.real({name: array[i : i + 1] for name, array in x.items()})[0] for i in range(8)]
    return result.report, artifact.sidecar, float(np.abs(np.concatenate(rows) - expected).max() / step)


def inputs_of(model):
    return {item._keras_history.operation.name: item.shape for item in model.inputs}


def operators(sidecar):
    return {name: count for name, count in sidecar["ops"].items() if name not in ("RESHAPE", "QUANTIZE")}


@pytest.mark.heavy
@pytest.mark.parametrize("name", CHAINS)
def test_a_layer_becomes_integer_and_the_file_agrees(name, running):
    import keras

    shape, make, expected = CHAINS[name]
    keras.utils.set_random_seed(2)
    model = randomise(keras.Sequential([keras.Input(shape, name="given"), *make(keras.layers)]))
    report, sidecar, difference = trained_and_converted(model, running)
    assert report.fully_int8
    assert sidecar["fully_int8"]
    assert expected is None or operators(sidecar) == expected
    # The kernels round an operator's result up or down a step; behind an activation that step is up to three.
    assert difference <= 3.01


@pytest.mark.heavy
@pytest.mark.parametrize("name", MERGES)
def test_a_merge_becomes_integer_and_the_file_agrees(name, running):
    import keras

    left, right = keras.Input(IMAGE, name="zebra"), keras.Input(IMAGE, name="apple")
    model = keras.Model([left, right], getattr(keras.layers, name)(name="merged")([left, right * 3.0]))
    report, sidecar, difference = trained_and_converted(model, running)
    assert report.fully_int8
    assert sidecar["fully_int8"]
    assert [item["name"] for item in sidecar["inputs"]] == ["zebra", "apple"]
    assert operators(sidecar).items() >= MERGES[name].items()
    assert difference <= 2.01


@pytest.mark.heavy
def test_three_at_once_are_merged_two_at_a_time(running):
    import keras

    given = keras.Input(ROW, name="given")
    parts = [keras.layers.Dense(6, name=f"part_{i}")(given) for i in range(3)]
    total = keras.layers.ReLU()(keras.layers.Add(name="total")(parts))
    model = keras.Model(given, keras.layers.Multiply()([total, keras.layers.Average(name="mean")(parts[::-1])]))
    _, sidecar, difference = trained_and_converted(model, running)
    assert sidecar["fully_int8"]
    assert operators(sidecar) == {"ADD": 4, "FULLY_CONNECTED": 3, "MUL": 2}
    assert difference <= 4.01  # seven operators in a row


@pytest.mark.heavy
def test_a_file_that_is_not_what_was_trained_would_be_seen(running):
    """The planted bad case of the comparison above: other weights than those of the QAT model."""
    import keras

    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input(ROW, name="given"), keras.layers.Dense(6, name="dense")])
    x = np.random.default_rng(0).normal(size=(8, *ROW)).astype("float32")
    result = Qat(training=Training(epochs=0)).apply(model, PassContext(train=(x, np.zeros((8, 1)))))
    file = running(convert(result.exported, isolate=False).model)
    kernel = result.exported.get_layer("dense").layer.kernel
    kernel.assign(kernel * 1.1)
    expected = result.exported.predict(x, verbose=0)
    got = np.concatenate([file.real({"given": x[i : i + 1]})[0] for i in range(8)])
    assert np.abs(got - expected).max() / file.steps()[0] > 5


@pytest.mark.heavy
def test_dense_layers_can_have_one_scale(running):
    import keras

    model = randomise(keras.Sequential([keras.Input(ROW), *norm_behind(keras.layers, keras.layers.Dense(6, name="l"))]))
    _, sidecar, difference = trained_and_converted(model, running, per_tensor_dense=True)
    assert sidecar["granularity"] == {"FULLY_CONNECTED": "per-tensor"}
    assert difference <= 1.01


def test_shares_that_are_an_output_keep_their_gradient_in_training_and_are_rounded_as_the_kernel_does_later():
    import tensorflow as tf

    from edgeopt.passes.qat.layers import QuantizedActivation

    logits = tf.Variable([[9.0, 0.0]])  # a share of 0.0001, which is 0 on a grid of 1/256
    inside, last = QuantizedActivation("softmax"), QuantizedActivation("softmax", last=True)
    with tf.GradientTape() as tape:
        share = last(logits, training=True)[0, 1]
        loss = -tf.math.log(tf.maximum(share, 1e-7))
    assert float(share) == pytest.approx(1.234e-4, rel=1e-3)
    assert float(tape.gradient(loss, logits)[0, 1]) == pytest.approx(-1, abs=1e-3)
    assert float(inside(logits, training=True)[0, 1]) == 0 == float(last(logits, training=False)[0, 1])


def test_only_the_last_softmax_is_one_of_an_output():
    import tf_keras

    layers = tf_keras.layers
    x = tf_keras.Input((4,))
    gate = layers.Dense(4, activation="softmax", name="gate")(x)
    model = tf_keras.Model(x, layers.Dense(3, activation="softmax", name="classes")(layers.Multiply()([x, gate])))
    data = np.zeros((8, 4), np.float32), np.zeros(8, np.int64)
    result = Qat(training=Training(epochs=0)).apply(
        model, PassContext(train=data, loss="sparse_categorical_crossentropy")
    )
    assert {name: result.exported.get_layer(name).last for name in ("gate", "classes")} == {
        "gate": False,
        "classes": True,
    }
