"""A rewritten model is flat and made of plain layers, and keeps what its users know it by."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ModelError
from edgeopt.models.bridge import RELATIVE_LIMIT
from edgeopt.models.rewrite import plan, prove, rewrite


def fixed(model, **options):
    rewritten = rewrite(model, **options)
    assert prove(model, rewritten).relative_difference <= RELATIVE_LIMIT
    return rewritten


def kinds(model):
    return [type(layer).__name__ for layer in model.layers if type(layer).__name__ != "InputLayer"]


def transfer(keras):
    """A frozen backbone, called twice, inside of a head."""
    layers = keras.layers
    inside = keras.Input((6, 6, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(inside))
    backbone = keras.Model(inside, layers.GlobalAveragePooling2D(name="pool")(x), name="backbone")
    backbone.trainable = False
    one, other = keras.Input((6, 6, 3), name="one"), keras.Input((6, 6, 3), name="other")
    x = layers.Subtract(name="difference")([backbone(one), backbone(other)])
    return keras.Model({"b": one, "a": other}, layers.Dense(2, name="classes")(x), name="twins")


@pytest.mark.smoke
def test_nested_models_become_their_layers_shared_and_frozen_as_they_were(any_keras):
    rewritten = fixed(transfer(any_keras))
    model = rewritten.model
    assert kinds(model).count("Conv2D") == 1
    assert not model.get_layer("conv").trainable and model.get_layer("classes").trainable
    assert ("backbone", "flattened") in {(change.layer, change.rule) for change in rewritten.changes}
    assert {entry.layer: entry.rule for entry in rewritten.left} == {"norm": "shared"}
    assert [tensor.name.split(":")[0] for tensor in model.inputs] == ["other", "one"]


def operations(keras):
    """What people write between layers."""
    layers = keras.layers
    image = keras.Input((6, 6, 3), name="image")
    x = image * 2.0 - 1.0
    x = layers.Conv2D(4, 3, name="conv")(x)
    if keras.__name__ == "keras":
        x = keras.ops.relu6(x)
        x = keras.ops.mean(x[:, :, :, :3], axis=(1, 2))
    else:
        import tensorflow as tf

        x = tf.nn.relu6(x)
        x = tf.reduce_mean(x[:, :, :, :3], axis=(1, 2))
    return keras.Model(image, layers.Dense(2, name="classes")(x), name="operations")


@pytest.mark.smoke
def test_operations_become_layers_and_fold_like_them(any_keras):
    rewritten = fixed(operations(any_keras))
    found = kinds(rewritten.model)
    assert found[:2] == ["Conv2D", "ReLU"]
    assert found[-2:] == ["GlobalAveragePooling2D", "Dense"]
    assert [change.rule for change in rewritten.changes].count("folded") == 2
    (left,) = rewritten.left
    assert left.rule == "operation" and "get_item" in left.reason


def test_a_file_of_the_new_model_needs_keras_alone(any_keras, tmp_path):
    # Keras 3 writes a slice to .h5 and cannot read it back.
    for name in ("model.keras", "model.h5") if any_keras.__name__ == "tf_keras" else ("model.keras",):
        made = fixed(operations(any_keras)).model
        made.save(tmp_path / name)
        again = any_keras.models.load_model(tmp_path / name, compile=False)
        images = np.random.default_rng(0).random((3, 6, 6, 3), np.float32)
        assert np.array_equal(again(images), made(images))
        assert "edgeopt" not in again.to_json()


@pytest.mark.smoke
def test_the_batch_is_fixed_when_asked(any_keras):
    model = operations(any_keras)
    assert fixed(model).model.inputs[0].shape[0] is None
    rewritten = fixed(model, batch_size=1)
    assert tuple(rewritten.model.inputs[0].shape) == (1, 6, 6, 3)
    assert tuple(rewritten.model.outputs[0].shape) == (1, 2)
    (change,) = [change for change in rewritten.changes if change.rule == "batch fixed"]
    assert (change.layer, change.detail) == ("image", "the batch was open and is 1 now")
    again = fixed(rewritten.model, batch_size=3)
    assert tuple(again.model.inputs[0].shape) == (3, 6, 6, 3)


def test_a_sequential_model_stays_one(any_keras):
    layers = any_keras.layers
    model = any_keras.Sequential(
        [any_keras.Input((6, 6, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()], name="line"
    )
    made = fixed(model).model
    assert isinstance(made, any_keras.Sequential) and made.name == "line"
    assert kinds(made) == ["Conv2D", "ReLU"]


def test_the_names_of_outputs_stay(any_keras):
    layers = any_keras.layers
    image = any_keras.Input((6, 6, 3), name="image")
    logits = layers.BatchNormalization(name="logits")(layers.Dense(4, name="dense")(layers.Flatten()(image)))
    inner = any_keras.Sequential([any_keras.Input((4,)), layers.Dense(2, name="last")], name="head")
    model = any_keras.Model(image, [logits, inner(logits)])
    made = fixed(model).model
    assert list(made.output_names) == ["logits", "head"]
    assert kinds(made) == ["Flatten", "Dense", "Dense", "Activation"]


def test_masks_and_python_stay(any_keras):
    layers = any_keras.layers
    ids = any_keras.Input((5,), dtype="int32", name="ids")
    x = layers.Embedding(7, 4, mask_zero=True, name="words")(ids) * 2.0
    x = layers.Lambda(lambda value: value + 1.0, output_shape=(5, 4), name="python")(x)
    inner = any_keras.Sequential([any_keras.Input((4,)), layers.Dense(2)], name="inner")
    x = layers.TimeDistributed(inner, name="each")(x)
    rewritten = fixed(any_keras.Model(ids, x))
    assert [entry.rule for entry in rewritten.left] == ["masked", "python", "wrapped"]
    assert rewritten.changes == ()


def test_ones_own_layers_are_copied(any_keras):
    class Mine(any_keras.layers.Layer):
        def __init__(self, factor=2.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, inputs):
            return inputs * self.factor

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    vector = any_keras.Input((4,), name="vector")
    x = any_keras.layers.BatchNormalization(name="norm")(Mine(3.0, name="mine")(vector))
    made = fixed(any_keras.Model(vector, any_keras.layers.Dense(2, name="dense")(x))).model
    assert kinds(made) == ["Mine", "Dense"] and made.get_layer("mine").factor == 3.0


def test_a_plan_is_what_is_then_done(any_keras):
    model = operations(any_keras)
    done = rewrite(model)
    assert plan(model) == (done.changes, done.left)


def test_a_subclassed_model_is_refused_with_what_can_be_done(any_keras):
    class Mine(any_keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = any_keras.layers.Dense(2)

        def call(self, inputs):
            return self.dense(inputs) if np.random.default_rng(0).random() > 2 else inputs[:, :1] * float(inputs[0, 0])

    model = Mine()
    model(np.ones((1, 4), "float32"))
    with pytest.raises(ModelError, match=r"is a subclassed model .*`edgeopt convert`, `validate` and `bench` take it"):
        rewrite(model)
