"""Each standard layer, both ways: all those that take one kind of input side by side in one model, one output each.

A layer that computes something else on the other side is named by the bridge's own check.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ModelError
from edgeopt.models.bridge import RELATIVE_LIMIT, flatten, to_keras3, to_tf_keras
from edgeopt.passes.properties import kernels_of

WAYS = {"keras": (to_tf_keras, to_keras3), "tf_keras": (to_keras3, to_tf_keras)}


def flavour(name):
    import keras
    import tf_keras

    return {"keras": keras, "tf_keras": tf_keras}[name]


def images(layers):
    return [
        layers.Conv2D(5, 3, activation="gelu", padding="same", kernel_regularizer="l2"),
        layers.Conv2D(4, 3, groups=2, dilation_rate=2, activation="swish"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2),
        layers.SeparableConv2D(5, 3, activation="relu"),
        layers.Conv2DTranspose(5, 3, strides=2, padding="same"),
        layers.Conv2DTranspose(5, 3, strides=2, padding="valid"),
        layers.BatchNormalization(momentum=0.8),
        layers.BatchNormalization(scale=False, epsilon=0.01),
        layers.LayerNormalization(axis=[1, 2, 3]),
        layers.GroupNormalization(2),
        layers.UnitNormalization(),
        layers.Normalization(axis=None, mean=3.0, variance=2.0),
        layers.Rescaling(1 / 127.5, -1.0),
        layers.Rescaling([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0]),
        layers.Resizing(5, 5),
        layers.CenterCrop(4, 4),
        layers.MaxPooling2D(),
        layers.AveragePooling2D(3, 2, "same"),
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.GlobalMaxPooling2D(),
        layers.ZeroPadding2D(((1, 2), (0, 1))),
        layers.Cropping2D(1),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.Reshape((-1, 4)),
        layers.Permute((3, 1, 2)),
        layers.Flatten(),
        layers.ReLU(6.0, negative_slope=0.1, threshold=0.2),
        layers.LeakyReLU(),
        layers.ELU(0.7),
        layers.PReLU(shared_axes=[1, 2]),
        layers.Softmax(axis=1),
        layers.SpatialDropout2D(0.3),
        layers.GaussianNoise(0.3),
        layers.ActivityRegularization(l2=0.1),
        layers.Identity(),
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomContrast(0.1),
    ]


def sequences(layers):
    return [
        layers.Conv1D(5, 3, padding="causal"),
        layers.DepthwiseConv1D(3),
        layers.SeparableConv1D(5, 3),
        layers.Conv1DTranspose(5, 3, strides=2),
        layers.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d"),
        layers.LayerNormalization(),
        layers.MaxPooling1D(),
        layers.AveragePooling1D(2),
        layers.GlobalAveragePooling1D(),
        layers.GlobalMaxPooling1D(keepdims=True),
        layers.ZeroPadding1D((1, 2)),
        layers.Cropping1D(1),
        layers.UpSampling1D(2),
        layers.Dropout(0.3),
        layers.SpatialDropout1D(0.3),
        layers.GaussianDropout(0.3),
        layers.Masking(0.0),
        layers.TimeDistributed(layers.Dense(3, activation="relu")),
        layers.Dense(3, activation="selu", kernel_constraint="max_norm"),
    ]


def recurrent(layers):
    return [
        layers.LSTM(3, return_sequences=True, go_backwards=True, dropout=0.2, recurrent_activation="relu"),
        layers.GRU(3),
        layers.GRU(3, reset_after=False),
        layers.SimpleRNN(3),
        layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum"),
        layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(3, go_backwards=True, activation="relu")),
        layers.RNN([layers.GRUCell(3), layers.LSTMCell(4)]),
    ]


GROUPS = {"images": (images, (8, 8, 4)), "sequences": (sequences, (8, 4)), "recurrent": (recurrent, (5, 4))}


def side_by_side(keras, layers, shape):
    one = keras.Input(shape, name="one")
    return keras.Model(one, [layer(one) for layer in layers])


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
@pytest.mark.parametrize(
    "group", [pytest.param(g, marks=[pytest.mark.heavy] if g == "recurrent" else []) for g in GROUPS]
)
def test_layer_is_the_same_layer_on_the_other_side(group, name, randomise):
    keras, (there, back) = flavour(name), WAYS[name]
    make, shape = GROUPS[group]
    layers = make(keras.layers)
    other = there(randomise(side_by_side(keras, layers, shape)))
    again = back(other.model)
    assert max(other.relative_difference, again.relative_difference) <= RELATIVE_LIMIT
    assert other.notes == again.notes == ()
    for layer in layers:
        for model in (other.model, again.model):
            assert type(model.get_layer(layer.name)).__name__ == type(layer).__name__
        returned = again.model.get_layer(layer.name).get_config()
        for key, value in layer.get_config().items():
            if key in ("units", "filters", "strides", "padding", "rate", "epsilon", "momentum", "merge_mode", "mode"):
                assert returned[key] == value, (layer.name, key)


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_regulariser_and_constraint_are_carried(name):
    keras, (there, _) = flavour(name), WAYS[name]
    layers = [
        keras.layers.Dense(
            3, kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2), bias_constraint="non_neg", name="held"
        )
    ]
    held = there(side_by_side(keras, layers, (4,))).model.get_layer("held")
    assert type(held.kernel_regularizer).__name__ == "L1L2"
    # tf_keras keeps the factors in float32, so they come back rounded to it
    assert (float(held.kernel_regularizer.l1), float(held.kernel_regularizer.l2)) == pytest.approx((0.1, 0.2), rel=1e-7)
    assert type(held.bias_constraint).__name__ == "NonNeg"


def test_regulariser_of_the_users_own_is_dropped_and_noted():
    keras = flavour("keras")

    @keras.saving.register_keras_serializable("mine")
    class Mine(keras.regularizers.Regularizer):
        def __call__(self, x):
            return keras.ops.sum(x)

        def get_config(self):
            return {}

    result = to_tf_keras(side_by_side(keras, [keras.layers.Dense(3, kernel_regularizer=Mine(), name="held")], (4,)))
    assert [(note.layer, note.rule, note.detail) for note in result.notes] == [
        ("held", "dropped", "kernel_regularizer Mine")
    ]


def test_every_activation_of_keras_3_survives_the_round_trip():
    keras = flavour("keras")
    broken = {"get", "serialize", "deserialize", "threshold"}  # `threshold` has no defaults, so no layer can hold it
    names = sorted(
        n for n in dir(keras.activations) if not n.startswith("_") and callable(getattr(keras.activations, n))
    )
    layers = [keras.layers.Activation(n, name=f"as_layer_{n}") for n in names if n not in broken]
    layers += [keras.layers.Dense(4, activation=n, name=f"inside_{n}") for n in names if n not in broken]
    model = side_by_side(keras, layers, (6, 4))
    other = to_tf_keras(model)
    again = to_keras3(other.model)
    assert max(other.relative_difference, again.relative_difference) <= RELATIVE_LIMIT
    for layer in layers:
        if layer.name in ("as_layer_relu6", "as_layer_leaky_relu"):
            continue  # these became the layers ReLU and LeakyReLU
        assert again.model.get_layer(layer.name).activation is layer.activation, layer.name


def test_two_hard_sigmoids_are_not_mixed_up():
    keras, tf_keras = flavour("keras"), flavour("tf_keras")
    x = np.linspace(-4, 4, 33, dtype="float32")[None]
    there = to_tf_keras(side_by_side(keras, [keras.layers.Activation("hard_sigmoid")], (33,))).model
    assert there(x).numpy() == pytest.approx(np.clip(x + 3, 0, 6) / 6, abs=1e-6)  # Keras 3's
    back = to_keras3(side_by_side(tf_keras, [tf_keras.layers.Dense(33, activation="hard_sigmoid", name="gate")], (33,)))
    kernel = back.model.get_layer("gate_linear").get_weights()[0]
    assert np.asarray(back.model(x)) == pytest.approx(np.clip(0.2 * (x @ kernel) + 0.5, 0, 1), abs=1e-5)  # Keras 2's
    assert back.model.output_names == ["gate"]
    assert {note.rule for note in back.notes} == {"activation split off"}


def test_hard_sigmoid_of_keras_2_inside_a_recurrent_layer_is_refused():
    tf_keras = flavour("tf_keras")
    model = side_by_side(
        tf_keras, [tf_keras.layers.LSTM(3, recurrent_activation="hard_sigmoid", name="reader")], (5, 4)
    )
    with pytest.raises(ModelError, match=r"'reader' uses Keras 2's hard_sigmoid"):
        to_keras3(model)


def test_layer_as_activation_is_mapped():
    keras = flavour("keras")
    result = to_tf_keras(
        side_by_side(keras, [keras.layers.Dense(3, activation=keras.layers.LeakyReLU(0.3), name="leaky")], (4,))
    )
    assert result.model.get_layer("leaky").activation.alpha == pytest.approx(0.3)


def test_adapted_normalization_keeps_its_statistics():
    keras = flavour("keras")
    layer = keras.layers.Normalization()
    model = side_by_side(keras, [layer], (4,))
    layer.adapt(np.random.default_rng(0).normal(5, 3, (100, 4)).astype("float32"))
    result = to_tf_keras(model)
    assert result.relative_difference <= RELATIVE_LIMIT
    assert np.asarray(result.model.layers[1].mean) == pytest.approx(np.asarray(layer.mean))


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_attention_is_the_same(name):
    keras, (there, back) = flavour(name), WAYS[name]
    query, value = keras.Input((6, 8), name="query"), keras.Input((5, 8), name="value")
    x = keras.layers.MultiHeadAttention(2, 4, value_dim=3, name="heads")(query, value)
    x = keras.layers.LayerNormalization(epsilon=1e-6)(x + query)
    x = keras.layers.Attention()([x, value])
    model = keras.Model([query, value], x)
    other = there(model)
    assert max(other.relative_difference, back(other.model).relative_difference) <= RELATIVE_LIMIT


@pytest.mark.parametrize("implementation", [1, 2, 3])
def test_locally_connected_layers_keep_the_layout_of_their_weights(implementation):
    layers = flavour("tf_keras").layers
    local = [layers.LocallyConnected2D(3, 3, implementation=implementation, name="local"), layers.Reshape((12, 9))]
    local += [layers.LocallyConnected1D(2, 3, implementation=implementation, name="signal")]
    model = flavour("tf_keras").Sequential([flavour("tf_keras").Input((8, 8, 2)), *local])
    copied = flatten(model)
    assert copied.max_difference == 0.0
    for name in ("local", "signal"):
        assert copied.model.get_layer(name).implementation == implementation
        assert kernels_of(copied.model.get_layer(name)), name


def test_thresholded_relu_becomes_relu():
    tf_keras = flavour("tf_keras")
    result = to_keras3(side_by_side(tf_keras, [tf_keras.layers.ThresholdedReLU(0.5)], (20,)))
    assert result.model.layers[1].threshold == pytest.approx(0.5)


def test_lambda_is_carried_and_noted():
    keras = flavour("keras")
    result = to_tf_keras(side_by_side(keras, [keras.layers.Lambda(lambda x: x * x + 1.0, name="mine")], (4,)))
    assert result.max_difference == 0.0
    assert [note.rule for note in result.notes] == ["python carried"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda layers: layers.RMSNormalization(name="bad"),
            r"'bad' is of the class RMSNormalization, .* use LayerNormalization",
        ),
        (
            lambda layers: layers.Dense(3, activation=lambda x: x + 1.0, name="bad"),
            r"'bad' has the activation '<lambda>'",
        ),
        (
            lambda layers: layers.Resizing(4, 4, pad_to_aspect_ratio=True, name="bad"),
            r"'bad' \(Resizing\) has pad_to_asp",
        ),
        (
            lambda layers: layers.MaxPooling2D(data_format="channels_first", name="bad"),
            r"'bad' has data_format='channels_first'",
        ),
    ],
)
def test_layer_without_a_counterpart_is_refused_by_name(make, message):
    keras = flavour("keras")
    if "RMS" in message and not hasattr(keras.layers, "RMSNormalization"):
        pytest.skip("this Keras has no RMSNormalization")
    model = side_by_side(keras, [make(keras.layers)], (8, 8, 4))
    with pytest.raises(ModelError, match=message):
        to_tf_keras(model)


def test_stateful_layer_is_refused():
    keras = flavour("keras")
    signal = keras.Input(batch_shape=(1, 5, 4))
    model = keras.Model(signal, keras.layers.SimpleRNN(3, stateful=True, name="memory")(signal))
    with pytest.raises(ModelError, match=r"'memory' is stateful"):
        to_tf_keras(model)


def test_wrapper_of_tfmot_is_refused_with_what_to_do():
    tf_keras = flavour("tf_keras")
    tfmot = pytest.importorskip("tensorflow_model_optimization")
    model = side_by_side(tf_keras, [tf_keras.layers.Dense(3, name="dense")], (4,))
    pruned = tfmot.sparsity.keras.prune_low_magnitude(model)
    with pytest.raises(ModelError, match=r"PruneLowMagnitude of TFMOT; strip the wrappers first"):
        to_keras3(pruned)
