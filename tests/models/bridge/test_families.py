"""The bridge on every family of models that the passes take: there, back, and equal."""

from __future__ import annotations

import pytest

from edgeopt.models.bridge import RELATIVE_LIMIT, to_keras3, to_tf_keras
from edgeopt.models.load import describe


def cnn_1d(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((64, 6), name="signal"),
            layers.Conv1D(8, 5, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling1D(2),
            layers.SeparableConv1D(12, 3, activation="relu"),
            layers.DepthwiseConv1D(3),
            layers.ZeroPadding1D(1),
            layers.LeakyReLU(),
            layers.GlobalAveragePooling1D(),
            layers.Dropout(0.3),
            layers.Dense(5, activation="softmax", name="classes"),
        ]
    )


def auto_encoder(keras):
    layers = keras.layers
    model = keras.Sequential([keras.Input((64,), name="frame")])
    for width in (32, 8, 32):
        model.add(layers.Dense(width))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.Dense(64, name="rebuilt"))
    return model


def u_net(keras):
    layers = keras.layers
    image = keras.Input((32, 32, 3), name="image")
    skips, x = [], image
    for width in (4, 8):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(16, 3, padding="same", activation="elu")(x)
    for width, skip in ((8, skips[1]), (4, skips[0])):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same")(x)
        x = layers.Concatenate()([x, skip])
        x = layers.PReLU(shared_axes=[1, 2])(x)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x), name="u_net")


def two_inputs(keras):
    """Inputs named against the alphabet, one shared layer, two outputs."""
    layers = keras.layers
    zebra, apple = keras.Input((8,), name="zebra"), keras.Input((8,), name="apple")
    shared = layers.Dense(6, activation="tanh", name="shared")
    left, right = shared(zebra), shared(apple)
    both = layers.Subtract(name="difference")([left, right])
    score = layers.Dense(1, name="score")(layers.Multiply()([both, left]))
    kind = layers.Dense(3, activation="softmax", name="kind")(layers.Average()([both, right]))
    return keras.Model([zebra, apple], [score, kind], name="pair")


def transfer(keras):
    """A frozen backbone, called in inference mode, under a new head."""
    layers = keras.layers
    inside = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(inside)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(max_value=6.0)(x)
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    backbone = keras.Model(inside, layers.Add()([x, y]), name="backbone")
    return under_a_head(keras, backbone)


def under_a_head(keras, backbone):
    layers = keras.layers
    backbone.trainable = False
    image = keras.Input((32, 32, 3), name="photo")
    x = layers.Rescaling(1 / 127.5, -1.0, name="scale")(image)
    x = backbone(x, training=False)
    x = layers.GlobalAveragePooling2D()(x)
    head = keras.Sequential(
        [keras.Input(x.shape[1:]), layers.Dropout(0.2), layers.Dense(4, name="logits")], name="head"
    )
    return keras.Model(image, head(x), name="transfer")


def lstm(keras):
    layers = keras.layers
    tokens = keras.Input((12,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 8, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x)
    x = layers.GRU(6)(x)
    return keras.Model(tokens, layers.Dense(3, name="next")(x), name="reader")


SMALL = {
    "cnn_1d": cnn_1d,
    "auto_encoder": auto_encoder,
    "u_net": u_net,
    "two_inputs": two_inputs,
    "transfer": transfer,
    "lstm": lstm,
}

APPLICATIONS = {
    "MobileNet": 64,
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "ResNet50": 64,
    "DenseNet121": 64,
    "Xception": 96,
}


def flavours():
    import keras
    import tf_keras

    return {"keras": (keras, to_tf_keras, to_keras3), "tf_keras": (tf_keras, to_keras3, to_tf_keras)}


@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.heavy] if name == "lstm" else []) for name in SMALL]
)
def test_small_family_computes_the_same_there_and_back(family, flavour, randomise):
    keras, there, back = flavours()[flavour]
    model = randomise(SMALL[family](keras))
    other = there(model)
    again = back(other.model)
    assert other.relative_difference <= RELATIVE_LIMIT
    assert again.relative_difference <= RELATIVE_LIMIT
    assert type(again.model).__module__.startswith(f"{flavour}.")
    for bridged in (other.model, again.model):
        assert describe(bridged).spec == describe(model).spec
        assert bridged.count_params() == model.count_params()


@pytest.mark.heavy
@pytest.mark.parametrize("name", APPLICATIONS)
def test_application_computes_the_same_there_and_back(name, randomise):
    keras, there, back = flavours()["keras"]
    size = APPLICATIONS[name]
    model = randomise(getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10))
    other = there(model)
    again = back(other.model)
    assert max(other.relative_difference, again.relative_difference) <= RELATIVE_LIMIT
    assert {layer.name for layer in model.layers} <= {layer.name for layer in again.model.layers}
    assert again.model.count_params() == model.count_params()


@pytest.mark.heavy
@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
def test_real_backbone_under_a_head_is_flattened(flavour, randomise):
    keras, there, _ = flavours()[flavour]
    backbone = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.35)
    result = there(randomise(under_a_head(keras, backbone)))
    assert result.relative_difference <= RELATIVE_LIMIT
    assert [layer.name for layer in result.model.layers if layer.trainable and layer.weights] == ["logits"]


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0"])
def test_application_of_tf_keras_comes_out_the_same_in_keras_3(name, randomise):
    keras, there, _ = flavours()["tf_keras"]
    model = randomise(getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=10))
    assert there(model).relative_difference <= RELATIVE_LIMIT
