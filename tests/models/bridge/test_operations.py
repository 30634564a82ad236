"""Bare operations between layers: as layers where there are such, carried otherwise, refused by name at last."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from edgeopt.errors import ModelError
from edgeopt.models.bridge import RELATIVE_LIMIT, to_keras3, to_tf_keras
from edgeopt.models.graph.operations import function_of
from edgeopt.models.graph.tf_symbols import TF_SYMBOLS

SHAPE = (6, 6, 4)


def keras_model(*functions, shape=SHAPE):
    import keras

    x = keras.Input(shape, name="x")
    return keras.Model(x, [function(x, keras.ops) for function in functions])


def tf_keras_model(*functions, shape=SHAPE):
    import tensorflow as tf
    import tf_keras

    x = tf_keras.Input(shape, name="x")
    return tf_keras.Model(x, [function(x, tf) for function in functions])


AS_LAYERS = {
    "Rescaling": [
        lambda x, ops: x * 2.0,
        lambda x, ops: 3.0 - x,
        lambda x, ops: x / 4.0,
        lambda x, ops: -x,
        lambda x, ops: x * np.array([1.0, 2.0, 3.0, 4.0], "float32"),
    ],
    "ReLU": [lambda x, ops: ops.relu6(x), lambda x, ops: ops.clip(x, 0.0, 2.0), lambda x, ops: ops.maximum(x, 0.0)],
    "LeakyReLU": [lambda x, ops: ops.leaky_relu(x, 0.1)],
    "Activation": [
        lambda x, ops: ops.sigmoid(x),
        lambda x, ops: ops.silu(x),
        lambda x, ops: ops.gelu(x, approximate=False),
    ],
    "Softmax": [lambda x, ops: ops.softmax(x, axis=1)],
    "Add": [lambda x, ops: x + x],
    "Subtract": [lambda x, ops: x - x],
    "Multiply": [lambda x, ops: x * x],
    "Minimum": [lambda x, ops: ops.minimum(x, x)],
    "Concatenate": [lambda x, ops: ops.concatenate([x, x], axis=-1)],
    "Reshape": [
        lambda x, ops: ops.reshape(x, (-1, 36, 4)),
        lambda x, ops: ops.expand_dims(x, 1),
        lambda x, ops: ops.squeeze(ops.reshape(x, (-1, 1, 144)), 1),
    ],
    "Permute": [lambda x, ops: ops.transpose(x, (0, 2, 1, 3))],
    "GlobalAveragePooling2D": [
        lambda x, ops: ops.mean(x, axis=(1, 2)),
        lambda x, ops: ops.mean(x, axis=(-2, -3), keepdims=True),
    ],
    "GlobalMaxPooling2D": [lambda x, ops: ops.max(x, axis=[1, 2])],
    "ZeroPadding2D": [lambda x, ops: ops.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)))],
}


@pytest.mark.parametrize("layer", AS_LAYERS)
def test_operation_becomes_the_layer_that_does_it(layer):
    model = keras_model(*AS_LAYERS[layer])
    result = to_tf_keras(model)
    assert result.relative_difference <= RELATIVE_LIMIT
    assert {type(item).__name__ for item in result.model.layers[1:]} <= {layer, "Reshape"}
    assert {note.rule for note in result.notes} == {"operation to layer"}


CARRIED = [
    lambda x, ops: x[..., :2],
    lambda x, ops: x[:, ::-1, 1, None],
    lambda x, ops: ops.sqrt(ops.abs(x)),
    lambda x, ops: 1.0 / (x * x + 1.0),
    lambda x, ops: ops.mean(x, axis=-1),
    lambda x, ops: ops.einsum("bhwc,bhwd->bcd", x, x),
    lambda x, ops: ops.split(x, 2, axis=-1)[1],
    lambda x, ops: ops.stack([x, x], axis=1),
    lambda x, ops: ops.gelu(x, approximate=True),
    lambda x, ops: ops.cast(ops.cast(x, "int32"), "float32"),
    lambda x, ops: ops.where(x > 0.0, x, x * 0.5),
    lambda x, ops: x + np.arange(6 * 4, dtype="float32").reshape(6, 4),
    lambda x, ops: ops.matmul(x, ops.transpose(x, (0, 1, 3, 2))),
]


def test_operation_without_a_layer_is_carried_there_and_back():
    model = keras_model(*CARRIED)
    other = to_tf_keras(model)
    again = to_keras3(other.model)
    assert max(other.relative_difference, again.relative_difference) <= RELATIVE_LIMIT
    assert {note.detail for note in other.notes if note.rule == "operation carried"} >= {
        "keras.ops.get_item as a KerasOperation layer",
        "keras.ops.einsum as a KerasOperation layer",
    }
    assert "KerasOperation" not in {type(layer).__name__ for layer in again.model.layers}
    assert again.model.output_names == model.output_names


def test_bridged_keras_3_model_reloads_without_custom_objects(tmp_path):
    import keras

    model = to_keras3(to_tf_keras(keras_model(*CARRIED)).model).model
    path = tmp_path / "again.keras"
    model.save(path)
    image = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")
    for saved, reloaded in zip(model(image), keras.models.load_model(path)(image), strict=True):
        np.testing.assert_array_equal(np.asarray(saved), np.asarray(reloaded))


def reloaded(model, path):
    import tf_keras

    model.save(path)
    return tf_keras.models.load_model(path, compile=False)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_carried_operation_reloads_where_edgeopt_is_imported(tmp_path, suffix):
    model = to_tf_keras(keras_model(*CARRIED)).model
    image = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")
    again = reloaded(model, str(tmp_path / f"there.{suffix}"))
    for saved, loaded in zip(model(image), again(image), strict=True):
        np.testing.assert_array_equal(saved, loaded)


def test_carried_activation_reloads_where_edgeopt_is_imported(tmp_path):
    import keras

    x = keras.Input(SHAPE)
    y = keras.layers.Conv2D(4, 1, activation="hard_silu")(x)
    model = to_tf_keras(keras.Model(x, keras.layers.Activation("hard_sigmoid")(y))).model
    image = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")
    np.testing.assert_array_equal(model(image), reloaded(model, str(tmp_path / "there.keras"))(image))


TENSORFLOW = [
    lambda x, tf: x * 2.0 + 1.0,
    lambda x, tf: 3.0 / (x * x + 5.0),
    lambda x, tf: tf.nn.relu6(x),
    lambda x, tf: tf.nn.silu(x),
    lambda x, tf: tf.nn.leaky_relu(x, alpha=0.1),
    lambda x, tf: x[..., :2],
    lambda x, tf: x[:, 1],
    lambda x, tf: tf.reshape(x, (-1, 36, 4)),
    lambda x, tf: tf.reduce_mean(x, axis=[1, 2]),
    lambda x, tf: tf.reduce_max(x, axis=-1, keepdims=True),
    lambda x, tf: tf.concat([x, x], axis=-1),
    lambda x, tf: tf.concat([x, x], 2),
    lambda x, tf: tf.split(x, [1, 3], axis=-1)[1],
    lambda x, tf: tf.split(x, num_or_size_splits=2, axis=1)[0],
    lambda x, tf: tf.transpose(x, perm=[0, 2, 1, 3]),
    lambda x, tf: tf.expand_dims(x, axis=1),
    lambda x, tf: tf.squeeze(x[:, :1], axis=[1]),
    lambda x, tf: tf.pad(x, [[0, 0], [1, 1], [2, 0], [0, 0]]),
    lambda x, tf: tf.clip_by_value(x, -1.0, 1.0),
    lambda x, tf: tf.cast(tf.cast(x, tf.int32), tf.float32),
    lambda x, tf: tf.einsum("bhwc,bhwd->bcd", x, x),
    lambda x, tf: tf.identity(x),
    lambda x, tf: tf.sqrt(tf.abs(x)) ** 2.0,
    lambda x, tf: tf.nn.softmax(x, axis=-1),
    lambda x, tf: tf.stack([x, x], axis=1),
    lambda x, tf: tf.matmul(x, x, transpose_b=False) if x.shape[-1] == x.shape[-2] else tf.square(x),
]


def test_every_name_of_the_tensorflow_table_is_one_in_keras_ops():
    for symbol, (name, _, parameters) in TF_SYMBOLS.items():
        accepted = inspect.signature(function_of(name)).parameters
        assert {parameter for parameter in parameters if parameter != "_"} <= set(accepted), symbol


def test_tensorflow_functions_have_their_namesakes_in_keras_ops():
    model = tf_keras_model(*TENSORFLOW)
    other = to_keras3(model)
    assert max(other.relative_difference, to_tf_keras(other.model).relative_difference) <= RELATIVE_LIMIT


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x, tf: tf.signal.fft(tf.cast(x, tf.complex64)),
            r"tf\.signal\.fft\) cannot be carried .* not among the TensorFlow functions",
        ),
        (
            lambda x, tf: tf.matmul(x, x, transpose_b=True),
            r"linalg\.matmul\) cannot be carried .* no place for its argument transpose_b",
        ),
        (lambda x, tf: tf.split(x, [-1, 1], axis=-1)[0], r"tf\.split\) cannot be carried .* size -1"),
    ],
)
def test_tensorflow_function_without_a_namesake_is_refused_by_name(function, message):
    with pytest.raises(ModelError, match=message):
        to_keras3(tf_keras_model(function))


def test_weight_outside_of_a_layer_is_refused_by_name():
    import keras

    weight = keras.Variable(np.ones(4, "float32"), name="loose")
    with pytest.raises(ModelError, match=r"'multiply.*' uses the weight '.*loose' outside of a layer"):
        to_tf_keras(keras_model(lambda x, ops: x * weight))


def test_integer_arithmetic_stays_integer():
    import keras

    ids = keras.Input((5,), dtype="int32")
    model = keras.Model(ids, keras.ops.cast(ids + 1, "float32"))
    result = to_tf_keras(model)
    assert result.max_difference == 0.0
    assert [type(layer).__name__ for layer in result.model.layers] == ["InputLayer", "KerasOperation", "KerasOperation"]


def test_reshape_across_samples_is_not_made_a_layer():
    import keras

    x = keras.Input(batch_shape=(4, 6))
    result = to_tf_keras(keras.Model(x, keras.ops.reshape(x, (2, 12))))
    assert type(result.model.layers[-1]).__name__ == "KerasOperation"
