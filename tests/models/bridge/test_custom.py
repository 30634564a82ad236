"""Custom layers and subclassed models."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ConversionError, ModelError, UsageError
from edgeopt.models.bridge import RELATIVE_LIMIT, flatten, register, to_keras3, to_tf_keras, unregister


def scale_classes():
    """The same layer in both flavours, as a user would write it; the second takes no `note`."""
    import keras
    import tf_keras

    class Scale(keras.layers.Layer):
        def __init__(self, power=1.0, note=None, **kwargs):
            super().__init__(**kwargs)
            self.power, self.note = power, note

        def build(self, input_shape):
            self.factor = self.add_weight(name="factor", shape=(input_shape[-1],), initializer="random_normal")
            self.shift = self.add_weight(name="shift", shape=(input_shape[-1],), initializer="random_normal")

        def call(self, inputs):
            return inputs * self.factor**self.power + self.shift

        def get_config(self):
            return {**super().get_config(), "power": self.power, "note": self.note}

    class ScaleTf(tf_keras.layers.Layer):
        def __init__(self, power=1.0, **kwargs):
            super().__init__(**kwargs)
            self.power = power

        def build(self, input_shape):
            self.factor = self.add_weight("factor", shape=(input_shape[-1],))
            self.shift = self.add_weight("shift", shape=(input_shape[-1],))

        def call(self, inputs):
            return inputs * self.factor**self.power + self.shift

        def get_config(self):
            return {**super().get_config(), "power": self.power}

    return Scale, ScaleTf


@pytest.fixture
def scales():
    classes = scale_classes()
    yield classes
    for item in classes:
        unregister(item)


def around(keras, layer):
    x = keras.Input((4,), name="x")
    return keras.Model(x, layer(keras.layers.Dense(4, name="dense")(x)))


def test_custom_layer_is_refused_with_its_name_class_and_what_to_do(scales):
    import keras

    with pytest.raises(
        ModelError, match=r"'mine' is of the class Scale, .* call edgeopt\.bridge\.register with the two classes"
    ):
        to_tf_keras(around(keras, scales[0](name="mine")))


def test_registered_layer_goes_there_and_back(scales):
    import keras

    register(*scales)
    model = around(keras, scales[0](power=2.0, name="mine"))
    other = to_tf_keras(model)
    again = to_keras3(other.model)
    assert max(other.relative_difference, again.relative_difference) <= RELATIVE_LIMIT
    assert isinstance(other.model.get_layer("mine"), scales[1])
    assert isinstance(again.model.get_layer("mine"), scales[0])
    assert again.model.get_layer("mine").power == 2.0


def test_argument_that_the_counterpart_lacks_is_refused_unless_at_its_default(scales):
    import keras

    register(*scales)
    with pytest.raises(ModelError, match=r"'mine' \(Scale\) has note='keep me', which .* ScaleTf does not have"):
        to_tf_keras(around(keras, scales[0](note="keep me", name="mine")))


def test_counterpart_with_other_weights_is_refused(scales):
    import keras
    import tf_keras

    class NoShift(scales[1]):
        def build(self, input_shape):
            self.factor = self.add_weight("factor", shape=(input_shape[-1],))
            self.shift = 0.0

    register(scales[0], NoShift)
    with pytest.raises(
        ConversionError,
        match=r"'mine' \(Scale\) has weights of shapes \[\(4,\), \(4,\)\] .* NoShift of shapes \[\(4,\)\]",
    ):
        to_tf_keras(around(keras, scales[0](name="mine")))
    assert isinstance(tf_keras.layers.Layer, type)


def test_counterpart_that_computes_something_else_is_found_out(scales):
    import keras

    class Wrong(scales[1]):
        def call(self, inputs):
            return inputs * self.factor - self.shift

    register(scales[0], Wrong)
    with pytest.raises(ConversionError, match=r"first at layer 'mine' \(Scale\)"):
        to_tf_keras(around(keras, scales[0](name="mine")))


def test_register_refuses_swapped_classes_and_second_counterparts(scales):
    first, second = scales
    with pytest.raises(
        UsageError, match=r"as the first argument of register; expected a subclass of keras\.layers\.Layer"
    ):
        register(second, first)
    register(first, second)
    register(first, second)  # again is no harm
    with pytest.raises(UsageError, match="are registered as a pair already"):
        register(first, type("Other", (second,), {}))


def subclassed(keras):
    class Net(keras.Model):
        def __init__(self):
            super().__init__(name="net")
            self.first = keras.layers.Dense(5, activation="relu", name="first")
            self.drop = keras.layers.Dropout(0.5, name="drop")
            self.norm = keras.layers.BatchNormalization(name="norm")
            self.last = keras.layers.Dense(2, name="last")

        def call(self, inputs, training=None):
            return self.last(self.norm(self.drop(self.first(inputs), training=training), training=training))

    return Net()


@pytest.mark.parametrize("flavour", ["keras", "tf_keras"])
def test_subclassed_model_that_composes_layers_is_traced(flavour, randomise):
    import keras
    import tf_keras

    module, there = {"keras": (keras, to_tf_keras), "tf_keras": (tf_keras, to_keras3)}[flavour]
    model = subclassed(module)
    model(np.zeros((3, 4), "float32"))
    result = there(randomise(model))
    assert result.relative_difference <= RELATIVE_LIMIT
    assert [layer.name for layer in result.model.layers][1:] == ["first", "drop", "norm", "last"]
    assert [note.rule for note in result.notes] == ["traced"]


def test_subclassed_model_inside_a_functional_one_is_traced_and_flattened():
    import keras

    x = keras.Input((4,), name="x")
    result = to_tf_keras(keras.Model(x, keras.layers.ReLU(name="top")(subclassed(keras)(x))))
    assert [layer.name for layer in result.model.layers] == ["x", "first", "drop", "norm", "last", "top"]


def test_subclassed_model_that_was_never_called_is_refused():
    import keras

    with pytest.raises(
        ModelError,
        match=r"'net' is a subclassed model .* never called, .* `edgeopt convert`, `validate` and `bench` take it",
    ):
        to_tf_keras(subclassed(keras))


def test_subclassed_model_with_a_weight_of_its_own_is_refused():
    import keras

    class Net(keras.Model):
        def build(self, input_shape):
            self.loose = self.add_weight(name="loose", shape=(4,))

        def call(self, inputs):
            return inputs * self.loose

    model = Net(name="net")
    model(np.zeros((1, 4), "float32"))
    with pytest.raises(
        ModelError, match=r"'net' is a subclassed model that cannot be replayed .* the weight '.*loose' through a layer"
    ):
        to_tf_keras(model)


def test_subclassed_model_that_branches_on_values_is_refused():
    import keras

    class Net(keras.Model):
        def __init__(self):
            super().__init__(name="net")
            self.dense = keras.layers.Dense(2)

        def call(self, inputs):
            return self.dense(inputs) if float(inputs[0, 0]) > 0 else inputs[:, :2]

    model = Net()
    model(np.ones((1, 4), "float32"))
    with pytest.raises(ModelError, match=r"'net' is a subclassed model .* its call does more than compose layers"):
        to_tf_keras(model)


def test_custom_layer_is_copied_within_its_flavour(scales):
    import keras

    result = flatten(around(keras, scales[0](power=2.0, note="kept", name="mine")))
    assert result.max_difference == 0.0
    assert (result.model.get_layer("mine").power, result.model.get_layer("mine").note) == (2.0, "kept")
