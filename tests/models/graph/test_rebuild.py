"""A flat graph runs like its model, and is rebuilt in its own flavour with names, classes and custom layers kept."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from edgeopt.errors import ModelError
from edgeopt.models.graph.read import read_graph
from edgeopt.models.graph.rebuild import copy_layer, read_native, rebuild, run


@pytest.fixture(params=["keras", "tf_keras"])
def keras(request):
    return importlib.import_module(request.param)


def branching(keras):
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(image)
    deep = layers.DepthwiseConv2D(3, padding="same", name="deep")
    inner = keras.Sequential([keras.Input((8, 8, 4)), deep], name="inner")
    x = layers.Add(name="sum")([x, inner(x)])
    return keras.Model(image, layers.Dense(2, name="out")(layers.GlobalMaxPooling2D(name="pool")(x)), name="branching")


def copied(model):
    """Rebuild a model unchanged, weights and all."""
    pairs = []

    def copy(layer, step):
        pairs.append((layer, copy_layer(layer, step, {})))
        return pairs[-1][1]

    rebuilt = rebuild(read_native(model), model, copy)
    for layer, twin in pairs:
        twin.set_weights(layer.get_weights())
    return rebuilt


def ones(shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_running_a_graph_gives_the_outputs_of_the_model(keras):
    import tensorflow as tf

    model, batch = branching(keras), ones((2, 8, 8, 3))
    graph = read_graph(model)
    tensors = run(graph, {ref: tf.constant(batch) for ref in graph.input_names})
    # The same kernels on the same numbers: equal but for the order of sums inside one of them.
    np.testing.assert_allclose(tensors[graph.outputs].numpy(), np.asarray(model(batch)), rtol=1e-5, atol=1e-6)


def test_a_hook_changes_what_one_step_is_given_and_no_other(keras):
    import tensorflow as tf

    model, batch = branching(keras), ones((2, 8, 8, 3))
    graph = read_graph(model)
    last = len(graph.steps) - 1
    inputs = {ref: tf.constant(batch) for ref in graph.input_names}
    tensors = run(graph, inputs, lambda index, _ref, value: value * 0.0 if index == last else value)
    np.testing.assert_array_equal(tensors[graph.outputs].numpy(), np.zeros((2, 2)))
    assert np.abs(tensors[graph.steps[last - 1].outputs[0]].numpy()).max() > 0


def test_a_rebuilt_model_computes_the_same_and_shares_nothing(keras):
    model, batch = branching(keras), ones((2, 8, 8, 3))
    rebuilt = copied(model)
    expected = np.asarray(model(batch))
    np.testing.assert_array_equal(np.asarray(rebuilt(batch)), expected)
    rebuilt.get_layer("out").set_weights([np.zeros((4, 2)), np.zeros(2)])
    np.testing.assert_array_equal(np.asarray(model(batch)), expected)
    assert rebuilt.name == model.name
    assert [layer.name for layer in rebuilt.layers] == ["image", "stem", "deep", "sum", "pool", "out"]


def test_names_that_are_legal_in_one_flavour_only_are_kept_there(keras):
    slash = {"keras": " ", "tf_keras": "/"}[keras.__name__]
    inputs = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(3, name=f"block{slash}hidden")(inputs)
    model = keras.Model(inputs, keras.layers.ReLU(name=f"block{slash}out")(hidden), name="whole")
    rebuilt = copied(model)
    assert [layer.name for layer in rebuilt.layers] == [layer.name for layer in model.layers]
    assert list(rebuilt.output_names) == list(model.output_names)


def test_layers_of_one_name_in_two_nested_models_are_told_apart(keras):
    inputs = keras.Input((4,), name="x")
    parts = [keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="same")], name=n) for n in ("a", "b")]
    model = keras.Model(inputs, parts[1](parts[0](inputs)), name="whole")
    names = [step.name for step in read_native(model).steps if step.layer is not None]
    assert len(set(names)) == 2
    np.testing.assert_array_equal(np.asarray(copied(model)(ones((2, 4)))), np.asarray(model(ones((2, 4)))))


def test_a_chain_stays_sequential(keras):
    chain = [keras.Input((4,), name="x"), keras.layers.Dense(3, name="d"), keras.layers.ReLU(name="r")]
    model = keras.Sequential(chain)
    rebuilt = copied(model)
    assert isinstance(rebuilt, keras.Sequential)
    np.testing.assert_array_equal(np.asarray(rebuilt(ones((2, 4)))), np.asarray(model(ones((2, 4)))))


def test_custom_layers_lambdas_and_own_activations_are_copied_without_registration(keras):
    class Double(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    def cube(x):
        return x * x * x

    inputs = keras.Input((4,), name="x")
    x = keras.layers.Dense(3, activation=cube, name="d")(Double(name="twice")(inputs))
    model = keras.Model(inputs, keras.layers.Lambda(lambda y: y - 1.0, name="less")(x))
    rebuilt = copied(model)
    np.testing.assert_array_equal(np.asarray(rebuilt(ones((2, 4)))), np.asarray(model(ones((2, 4)))))


def test_a_layer_without_a_configuration_is_refused_by_name(keras):
    class Closed(keras.layers.Layer):
        def __init__(self, secret, **kwargs):
            super().__init__(**kwargs)
            self.secret = secret

        def get_config(self):
            raise NotImplementedError

        def call(self, inputs):
            return inputs

    inputs = keras.Input((4,), name="x")
    model = keras.Model(inputs, Closed(3, name="closed")(keras.layers.Dense(2, name="d")(inputs)))
    with pytest.raises(ModelError, match=r"Layer 'closed' \(Closed\) cannot be made again .* get_config"):
        copied(model)


def test_bare_operations_keep_their_kind_and_names():
    keras = importlib.import_module("keras")
    inputs = keras.Input((4, 4, 2), name="x")
    model = keras.Model(inputs, keras.ops.mean(inputs * 2.0 + 1.0, axis=(1, 2)))
    rebuilt = copied(model)
    assert rebuilt.output_names == model.output_names
    np.testing.assert_array_equal(np.asarray(rebuilt(ones((2, 4, 4, 2)))), np.asarray(model(ones((2, 4, 4, 2)))))


def test_tensorflow_functions_stay_tensorflow_functions():
    import tensorflow as tf

    keras = importlib.import_module("tf_keras")
    inputs = keras.Input((4, 4, 2), name="x")
    x = tf.pad(tf.nn.relu(inputs - 0.5), [[0, 0], [1, 1], [1, 1], [0, 0]])
    first, second = tf.split(tf.reshape(x[:, 1:], (-1, 30, 2)), [10, 20], axis=1)
    x = tf.concat([tf.transpose(second, (0, 2, 1)), tf.transpose(first, (0, 2, 1))], axis=2)
    model = keras.Model(inputs, tf.clip_by_value(tf.reduce_mean(x, axis=2), 0.0, 1.0) / 3.0)
    rebuilt = copied(model)
    assert rebuilt.output_names == model.output_names
    assert {type(layer).__name__ for layer in rebuilt.layers} == {"InputLayer", "SlicingOpLambda", "TFOpLambda"}
    np.testing.assert_array_equal(np.asarray(rebuilt(ones((2, 4, 4, 2)))), np.asarray(model(ones((2, 4, 4, 2)))))


def test_operations_that_the_bridge_carried_to_tf_keras_stay_carried():
    from edgeopt.models.bridge import to_tf_keras

    keras = importlib.import_module("keras")
    inputs = keras.Input((6,), name="x")
    x = keras.layers.Dense(3, name="d")(inputs)
    model = to_tf_keras(keras.Model(inputs, keras.ops.logsumexp(x, axis=-1))).model
    rebuilt = copied(model)
    np.testing.assert_array_equal(np.asarray(rebuilt(ones((2, 6)))), np.asarray(model(ones((2, 6)))))
