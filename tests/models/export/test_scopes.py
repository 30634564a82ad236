"""`edgeopt.models.export.scopes`: an operation stands in the scope of its layer, whatever other layers are called."""

from __future__ import annotations

import tensorflow as tf

from edgeopt.models.export.scopes import named
from edgeopt.models.load import describe


def scopes(model):
    """Which scopes have a MatMul, in the order of the graph, traced as it is exported."""
    loaded = describe(model)
    with named(loaded):
        function = tf.function(lambda x: loaded.call([x])).get_concrete_function(tf.TensorSpec((1, 4)))
    nodes = function.graph.as_graph_def().node
    return [node.name.rpartition("/")[0] for node in nodes if node.op == "MatMul"]


def test_layers_whose_names_differ_in_a_number_alone_are_told_apart(any_keras):
    names = ("dense", "dense_1", "dense_1_1")
    model = any_keras.Sequential(
        [any_keras.Input((4,)), *(any_keras.layers.Dense(4, name=n) for n in names)], name="net"
    )
    assert scopes(model) == [f"net/{name}" for name in names]


def test_a_model_in_a_model_and_a_layer_that_is_called_twice(any_keras):
    layers = any_keras.layers
    inner = any_keras.Sequential([any_keras.Input((4,)), layers.Dense(4, name="dense")], name="inner")
    x, shared = any_keras.Input((4,), name="x"), layers.Dense(4, name="dense_1")
    found = scopes(any_keras.Model(x, shared(shared(inner(x))), name="outer"))
    assert found[:2] == ["outer/inner/dense", "outer/dense_1"] and found[2].startswith("outer/dense_1")


def test_the_layers_are_as_before(any_keras):
    layer = any_keras.layers.Dense(4)
    named_before = vars(layer).get("call")
    scopes(any_keras.Sequential([any_keras.Input((4,)), layer]))
    assert vars(layer).get("call") is named_before
