"""`edgeopt.models.keras_spec`: names, order and structure of inputs and outputs, of every kind of Keras model."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

from edgeopt.errors import UsageError
from edgeopt.models.detect import Flavour
from edgeopt.models.keras_spec import keras_spec, unique
from edgeopt.models.load import describe

ONE, TWO = np.full((1, 4), 1.0, np.float32), np.full((1, 4), 2.0, np.float32)


def difference(keras, inputs, first, second):
    """A model that gives first - second and its negative, so that a swap of inputs or outputs shows."""
    plus = keras.layers.Subtract(name="plus")([first, second])
    minus = keras.layers.Subtract(name="minus")([second, first])
    return plus, minus


def functional(keras, shape):
    zebra, apple = keras.Input((4,), name="zebra"), keras.Input((4,), name="apple")
    plus, minus = difference(keras, None, zebra, apple)
    return {
        "list": lambda: keras.Model([zebra, apple], [plus, minus]),
        "dict": lambda: keras.Model({"zebra": zebra, "apple": apple}, {"z": plus, "a": minus}),
        "ordered dict": lambda: keras.Model(
            OrderedDict(zebra=zebra, apple=apple), OrderedDict([("z", plus), ("a", minus)])
        ),
        "nested": lambda: keras.Model({"pair": [zebra, apple]}, [plus, {"m": minus}]),
    }[shape]()


@pytest.mark.smoke
@pytest.mark.parametrize("shape", ["list", "dict", "ordered dict", "nested"])
def test_functional_models_of_any_structure(any_keras, shape):
    model = functional(any_keras, shape)
    loaded = describe(model)
    names = [item.name for item in loaded.spec.inputs]
    assert sorted(names) == ["apple", "zebra"]
    if shape in ("list", "nested"):
        assert names == ["zebra", "apple"]
    assert {item.shape for item in loaded.spec.inputs} == {(None, 4)}
    assert loaded.spec.firm
    # Fed by name, whatever the order: zebra - apple is -1 where the output is the positive difference.
    feeds = {"zebra": ONE, "apple": TWO}
    outputs = loaded.call([feeds[name] for name in names])
    flat = [outputs[key] for key in ("z", "a")] if "dict" in shape else [outputs[0], outputs[1]]
    flat = [value["m"] if isinstance(value, dict) else value for value in flat]
    assert [float(value[0, 0]) for value in flat] == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [("list", ["plus", "minus"]), ("dict", ["a", "z"]), ("nested", ["plus", "minus"])],
)
def test_outputs_have_the_keys_or_the_layers_names_in_keras_order(any_keras, shape, expected):
    model = functional(any_keras, shape)
    assert list(describe(model).spec.output_names) == expected
    layers = [tensor._keras_history[0].name for tensor in model.outputs]
    assert layers == (["minus", "plus"] if shape == "dict" else ["plus", "minus"])


def test_an_ordered_dict_keeps_the_order_that_its_keras_keeps(any_keras):
    names = list(describe(functional(any_keras, "ordered dict")).spec.output_names)
    assert names == (["z", "a"] if any_keras.__name__ == "keras" else ["a", "z"])


def test_repeated_outputs_get_numbers_as_keras_does(any_keras):
    inputs = any_keras.Input((4,), name="x")
    twice = any_keras.layers.Dense(2, name="d")
    model = any_keras.Model(inputs, [twice(inputs), twice(any_keras.layers.ReLU()(inputs)), inputs])
    assert list(describe(model).spec.output_names) == ["d", "d_1", "x"]


def test_numbers_do_not_collide():
    assert unique(["d", "d_1", "d"]) == ["d", "d_1", "d_2"]


def test_sequential_models(any_keras):
    model = any_keras.Sequential([any_keras.Input((4,), name="x"), any_keras.layers.Dense(2, name="y")])
    spec = describe(model).spec
    assert [(item.name, item.shape, item.dtype) for item in spec.inputs] == [("x", (None, 4), "float32")]
    assert spec.output_names == ("y",)


def test_integer_inputs_keep_their_type(any_keras):
    ids = any_keras.Input((6,), name="ids", dtype="int32")
    model = any_keras.Model(ids, any_keras.layers.Embedding(9, 4)(ids))
    assert describe(model).spec.inputs[0].dtype == "int32"


# --- models that do not know their inputs --------------------------------------------------------------------------


def subclassed(keras, takes):
    class Single(keras.Model):
        def call(self, signal, training=False):
            return signal * 2

    class Optional(keras.Model):
        def call(self, signal, other=None):
            return signal * 2 if other is None else signal - other

    class Listed(keras.Model):
        def call(self, inputs):
            return inputs[0] - inputs[1]

    class Named(keras.Model):
        def call(self, inputs):
            return {"out": inputs["zebra"] - inputs["apple"]}

    class Several(keras.Model):
        def call(self, zebra, apple):
            return zebra - apple

    return {"single": Single, "optional": Optional, "list": Listed, "dict": Named, "several": Several}[takes]()


def call_once(model, takes):
    arguments = {
        "single": (ONE,),
        "optional": (ONE,),
        "list": ([ONE, TWO],),
        "dict": ({"zebra": ONE, "apple": TWO},),
        "several": (ONE, TWO),
    }
    model(*arguments[takes])
    return model


@pytest.mark.parametrize("takes", ["single", "optional"])
def test_a_subclassed_model_of_one_input_takes_any_stated_name(any_keras, takes):
    for model in (subclassed(any_keras, takes), call_once(subclassed(any_keras, takes), takes)):
        loaded = describe(model, input_names=["mine"])
        assert [item.name for item in loaded.spec.inputs] == ["mine"]
        assert not loaded.spec.firm
        assert float(loaded.call([ONE])[0, 0]) == 2.0


def test_a_called_model_knows_its_input(any_keras):
    (item,) = describe(call_once(subclassed(any_keras, "single"), "single")).spec.inputs
    assert item.shape == (1, 4)
    assert item.name == ("signal" if any_keras.__name__ == "keras" else "input_1")


def test_a_called_model_knows_whether_it_takes_a_list_or_a_dict(any_keras):
    listed = describe(call_once(subclassed(any_keras, "list"), "list"))
    assert [item.name for item in listed.spec.inputs] == ["input_1", "input_2"]
    assert float(listed.call([ONE, TWO])[0, 0]) == -1.0
    named = describe(call_once(subclassed(any_keras, "dict"), "dict"))
    assert [item.name for item in named.spec.inputs] == ["apple", "zebra"]
    assert float(named.call([TWO, ONE])["out"][0, 0]) == -1.0


def test_inputs_of_a_list_may_be_named(any_keras):
    loaded = describe(call_once(subclassed(any_keras, "list"), "list"), input_names=["a", "b"])
    assert [item.name for item in loaded.spec.inputs] == ["a", "b"]


@pytest.mark.parametrize("stated", [["zebra", "apple"], ["apple", "zebra"]])
@pytest.mark.parametrize("called", [False, True])
def test_several_parameters_are_bound_by_name_whatever_the_order_stated(any_keras, stated, called):
    model = subclassed(any_keras, "several")
    loaded = describe(call_once(model, "several") if called else model, input_names=stated)
    assert [item.name for item in loaded.spec.inputs] == ["zebra", "apple"]
    assert float(loaded.call([ONE, TWO])[0, 0]) == -1.0


def test_a_model_that_was_never_built_says_how_to_state_its_inputs(any_keras):
    for takes, example in (
        ("single", "--input-shape signal=1,..."),
        ("several", "--input-shape zebra=1,... and --input-shape apple"),
    ):
        with pytest.raises(
            UsageError, match=f"does not know its inputs, because it was never built; state them: {example}"
        ):
            describe(subclassed(any_keras, takes))


def test_several_inputs_in_one_parameter_cannot_be_guessed(any_keras):
    with pytest.raises(UsageError, match=r"takes inputs, but 2 inputs were stated \(a, b\); call it once on real data"):
        describe(subclassed(any_keras, "list"), input_names=["a", "b"])


def test_a_sequential_model_without_input_takes_any_name(any_keras):
    model = any_keras.Sequential([any_keras.layers.Dense(3)])
    loaded = describe(model, input_names=["x"])
    assert [(item.name, item.shape) for item in loaded.spec.inputs] == [("x", ())]
    assert loaded.call([ONE]).shape == (1, 3)


def test_build_with_a_shape_per_parameter():
    """Keras 3 records what `build` was given by parameter name, in any order."""
    import keras

    class Pair(keras.Model):
        def build(self, right_shape, left_shape):
            self.built = True

        def call(self, left, right):
            return left - right

    model = Pair()
    model._build_shapes_dict = {"right_shape": (None, 4), "left_shape": (None, 4)}
    spec, call = keras_spec(model, Flavour.KERAS3, [])
    assert [item.name for item in spec.inputs] == ["left", "right"]
    assert float(call([ONE, TWO])[0, 0]) == -1.0
