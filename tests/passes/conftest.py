"""The families of models that every pass must handle, small, in either flavour, with weights that hide nothing."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

_NEAR_ONE, _NEAR_ZERO = (0.5, 1.5), (-0.3, 0.3)
_RANGES = {
    "alpha": (0.0, 0.4),
    "beta": _NEAR_ZERO,
    "bias": _NEAR_ZERO,
    "gamma": _NEAR_ONE,
    "moving_mean": _NEAR_ZERO,
    "moving_variance": _NEAR_ONE,
}


@pytest.fixture(params=["keras", "tf_keras"])
def keras(request):
    """Keras 3 and tf_keras in turn: a test that takes it runs in both flavours."""
    return importlib.import_module(request.param)


@pytest.fixture(scope="session")
def randomise():
    """Give every weight that starts as zeros or ones a random value: as they are, two swapped ones would not show."""

    def apply(model, seed=0):
        generator = np.random.default_rng(seed)
        for weight in model.weights:
            low_high = _RANGES.get(weight.name.split("/")[-1].split(":")[0])
            if low_high is not None:
                weight.assign(generator.uniform(*low_high, weight.shape))
        return model

    return apply


@pytest.fixture(scope="session")
def build(randomise):
    """Build a family by name in a flavour: one of `FAMILIES` below, or a model of `keras.applications`."""

    def make(name, keras, size=64):
        keras.utils.set_random_seed(3)
        if name in FAMILIES:
            return randomise(FAMILIES[name](keras))
        application = getattr(keras.applications, name)
        extra = {"classifier_activation": None, "classes": 10}
        return settle(randomise(application(weights=None, input_shape=(size, size, 3), **extra)))

    return make


def settle(model):
    """Give each BatchNormalization the statistics of what it sees, as training does.

    With others, a deep network loses its input on the way: the outputs are those of the biases, whatever goes wrong.
    """
    norms = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    momenta = [layer.momentum for layer in norms]
    generator = np.random.default_rng(11)
    for layer in norms:
        layer.momentum = 0.0
    model(generator.normal(size=(16, *model.input_shape[1:])).astype("float32"), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return model


def cnn_1d(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((64, 6), name="signal"),
            layers.Conv1D(16, 5, padding="same", activation="relu", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.MaxPooling1D(2, name="halve"),
            layers.SeparableConv1D(24, 3, activation="relu", name="separable"),
            layers.DepthwiseConv1D(3, depth_multiplier=2, name="depthwise"),
            layers.ZeroPadding1D(1, name="pad"),
            layers.LeakyReLU(name="leak"),
            layers.Flatten(name="flat"),
            layers.Dropout(0.3, name="drop"),
            layers.Dense(32, activation="tanh", name="hidden"),
            layers.Dense(5, name="classes"),
        ],
        name="cnn_1d",
    )


def auto_encoder(keras):
    layers = keras.layers
    model = keras.Sequential([keras.Input((64,), name="frame")], name="auto_encoder")
    for index, width in enumerate((48, 32, 16, 48)):
        model.add(layers.Dense(width, name=f"dense_{index}"))
        model.add(layers.BatchNormalization(name=f"norm_{index}"))
        model.add(layers.ReLU(name=f"relu_{index}"))
    model.add(layers.Dense(64, name="rebuilt"))
    return model


def u_net(keras):
    layers = keras.layers
    image = keras.Input((32, 32, 3), name="image")
    skips, x = [], image
    for width in (16, 24):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"down_{width}")(x)
        x = layers.BatchNormalization(name=f"norm_{width}")(x)
        x = layers.Activation("relu", name=f"relu_{width}")(x)
        skips.append(x)
        x = layers.MaxPooling2D(name=f"pool_{width}")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="elu", name="bottom")(x)
    for width, skip in ((24, skips[1]), (16, skips[0])):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same", name=f"up_{width}")(x)
        x = layers.Concatenate(name=f"skip_{width}")([x, skip])
        x = layers.PReLU(shared_axes=[1, 2], name=f"prelu_{width}")(x)
    return keras.Model(image, layers.Conv2D(1, 1, name="mask")(x), name="u_net")


def two_inputs(keras):
    """Inputs named against the alphabet, a layer that both share, two outputs."""
    layers = keras.layers
    zebra, apple = keras.Input((12,), name="zebra"), keras.Input((12,), name="apple")
    shared = layers.Dense(24, activation="tanh", name="shared")
    left, right = shared(zebra), layers.Dense(24, name="after")(shared(apple))
    both = layers.Subtract(name="difference")([left, right])
    score = layers.Dense(1, name="score")(layers.Multiply(name="product")([both, left]))
    kind = layers.Dense(3, name="kind")(layers.Average(name="mean")([both, right]))
    return keras.Model([zebra, apple], [score, kind], name="pair")


def nested(keras):
    """A frozen backbone, called in inference mode, under a new head."""
    layers = keras.layers
    inside = keras.Input((32, 32, 3), name="pixels")
    x = layers.Conv2D(16, 3, strides=2, use_bias=False, name="stem")(inside)
    x = layers.BatchNormalization(name="stem_norm")(x)
    x = layers.ReLU(max_value=6.0, name="stem_relu")(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="spatial")(x)
    backbone = keras.Model(inside, layers.Add(name="sum")([x, y]), name="backbone")
    backbone.trainable = False
    image = keras.Input((32, 32, 3), name="image")
    x = backbone(layers.Rescaling(1 / 255.0, name="scale")(image), training=False)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(24, activation="relu", name="hidden")(x)
    return keras.Model(image, layers.Dense(4, name="classes")(x), name="transfer")


def squeeze_excite(keras):
    """A residual block whose channels are gated: Multiply of (1, 1, C) and (H, W, C)."""
    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(32, 3, padding="same", name="stem")(image)
    y = layers.Conv2D(32, 3, padding="same", activation="relu", name="inner")(x)
    gate = layers.GlobalAveragePooling2D(name="squeeze")(y)
    gate = layers.Dense(16, activation="relu", name="reduce")(gate)
    gate = layers.Dense(32, activation="sigmoid", name="excite")(gate)
    y = layers.Multiply(name="gated")([y, layers.Reshape((1, 1, 32), name="as_image")(gate)])
    x = layers.Add(name="residual")([x, y])
    x = layers.GroupNormalization(groups=4, name="groups")(x)
    x = layers.UpSampling2D(name="grow")(layers.Cropping2D(2, name="crop")(x))
    x = layers.Permute((3, 1, 2), name="to_front")(x)
    x = layers.Permute((2, 3, 1), name="to_back")(x)
    x = layers.Conv2D(24, 3, groups=1, strides=2, name="last")(x)
    return keras.Model(image, layers.Dense(4, name="classes")(layers.GlobalMaxPooling2D(name="pool")(x)), name="gated")


def grouped(keras):
    """Grouped convolutions: channels that go as whole groups."""
    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(32, 3, activation="relu", name="stem")(image)
    x = layers.Conv2D(64, 3, groups=8, activation="relu", name="grouped")(x)
    x = layers.Conv2D(32, 1, activation="relu", name="mixed")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(4, name="classes")(x), name="grouped")


FAMILIES = {
    function.__name__: function
    for function in (cnn_1d, auto_encoder, u_net, two_inputs, nested, squeeze_excite, grouped)
}
