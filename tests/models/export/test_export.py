"""`edgeopt.models.export.export`: the lean SavedModel computes what the model computes."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ConversionError
from edgeopt.models.export.export import _reason, export_lean, input_key, output_key
from edgeopt.models.load import describe, load_model
from edgeopt.models.spec import fix_shapes

X = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)


def exported(model, folder, batch_size=1, **options):
    loaded = describe(model)
    return export_lean(loaded, fix_shapes(loaded.spec, {}, batch_size), folder, **options)


def signature(folder):
    import tensorflow as tf

    module = tf.saved_model.load(str(folder))
    function = module.signatures["serving_default"]
    function.keep_alive = module
    return function


def convolutional(keras):
    layers = keras.layers
    image = keras.Input((8, 8, 2), name="image")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    x = layers.Dropout(0.5)(layers.ReLU()(x))
    return keras.Model(image, [layers.Dense(2, name="b")(layers.Flatten()(x)), layers.GlobalMaxPooling2D(name="a")(x)])


@pytest.mark.smoke
def test_the_outputs_are_the_models_own_to_the_bit(any_keras, tmp_path):
    model = convolutional(any_keras)
    lean = exported(model, tmp_path / "lean", batch_size=3)
    assert lean.output_names == ("b", "a")
    assert [item.shape for item in lean.inputs] == [(3, 8, 8, 2)]
    assert lean.warnings == ()
    found = signature(tmp_path / "lean")(**{input_key(0): X})
    for i, expected in enumerate(model(X, training=False)):
        np.testing.assert_array_equal(found[output_key(i)], expected)


def test_a_dynamic_batch_stays_open(any_keras, tmp_path):
    exported(convolutional(any_keras), tmp_path / "lean", batch_size=None)
    spec = signature(tmp_path / "lean").structured_input_signature[1][input_key(0)]
    assert spec.shape.as_list() == [None, 8, 8, 2]


def test_an_input_that_is_an_output_and_an_output_given_twice(any_keras, tmp_path):
    x = any_keras.Input((4,), name="x")
    y = any_keras.layers.Dense(2, name="y")(x)
    lean = exported(any_keras.Model(x, [y, x, y]), tmp_path / "lean")
    assert lean.output_names == ("y", "x", "y_1")
    assert len(signature(tmp_path / "lean").structured_outputs) == 3


def test_keys_are_in_order_beyond_ten():
    assert sorted(map(input_key, range(12))) == [input_key(i) for i in range(12)]
    assert sorted(map(output_key, range(12))) == [output_key(i) for i in range(12)]


def test_a_model_that_was_never_built_gets_its_variables(any_keras, tmp_path):
    loaded = describe(any_keras.Sequential([any_keras.layers.Dense(2)]), input_names=["x"])
    inputs = fix_shapes(loaded.spec, {"x": (1, 4)}, 1)
    lean = export_lean(loaded, inputs, tmp_path / "lean")
    assert lean.output_names == ("output",)
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(signature(tmp_path / "lean")(in000=x)["out000"], loaded.model(x))


def test_variables_that_keras_does_not_know_are_kept(any_keras, tmp_path):
    import tensorflow as tf

    class Own(any_keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = [tf.Variable(3.0)]

        def call(self, x):
            return x * self.hidden[0]

    loaded = describe(Own(), input_names=["x"])
    export_lean(loaded, fix_shapes(loaded.spec, {"x": (1, 2)}, 1), tmp_path / "lean")
    assert float(signature(tmp_path / "lean")(in000=np.ones((1, 2), np.float32))["out000"][0, 0]) == 3.0


def test_outputs_of_a_subclassed_model_are_named_by_key_or_number(any_keras, tmp_path):
    class Dict(any_keras.Model):
        def call(self, x):
            return {"b": x, "a": x + 1}

    class Pair(any_keras.Model):
        def call(self, x):
            return x, x + 1

    for number, (kind, names) in enumerate(((Dict, ("a", "b")), (Pair, ("output_0", "output_1")))):
        loaded = describe(kind(), input_names=["x"])
        lean = export_lean(loaded, fix_shapes(loaded.spec, {"x": (1, 2)}, 1), tmp_path / str(number))
        assert lean.output_names == names


def test_a_saved_model_is_exported_too(any_keras, tmp_path):
    model = convolutional(any_keras)
    saved = str(tmp_path / "saved")
    model.export(saved, verbose=False) if any_keras.__name__ == "keras" else model.save(saved)
    loaded = load_model(saved)
    lean = export_lean(loaded, fix_shapes(loaded.spec, {}, 3), tmp_path / "lean")
    found = signature(lean.folder)(**{input_key(0): X})
    for i, expected in enumerate(model(X, training=False)):
        # The same kernels in another graph: TensorFlow may fuse differently, so up to a few roundings of float32.
        np.testing.assert_allclose(found[output_key(i)], expected, rtol=1e-5, atol=1e-5)


def test_layers_that_keep_state_are_refused_by_name(any_keras, tmp_path):
    layers = [any_keras.Input(batch_shape=(1, 5, 2), name="x"), any_keras.layers.GRU(3, stateful=True, name="memory")]
    with pytest.raises(ConversionError, match=r"layer\(s\) 'memory' keep state between calls \(stateful=True\)"):
        exported(any_keras.Sequential(layers), tmp_path / "lean")


def test_the_users_own_error_is_said_with_its_layer(any_keras, tmp_path):
    class Broken(any_keras.layers.Layer):
        def call(self, x):
            if x.shape[0] == 1:
                raise ValueError("needs two rows")
            return x

    x = any_keras.Input((4,), name="x")
    model = any_keras.Model(x, Broken(name="broken")(x))
    with pytest.raises(
        ConversionError, match=r"cannot be traced with inputs \{'x': \(1, 4\)\}: .*needs two rows"
    ) as caught:
        exported(model, tmp_path / "lean")
    assert "broken" in str(caught.value).lower()
    assert "File " not in str(caught.value)


def test_the_reason_is_dug_out_of_what_stands_around_it():
    text = (
        "in user code:\n\n    File \"/a/b.py\", line 3, in call  *\n        return det(x)\n\n    ValueError: Exception encountered "
        "when calling layer 'det' (type Det).\n    \n    in user code:\n    \n        File \"/a/b.py\", line 9, in call  *\n"
        "            raise\n    \n        RuntimeError: too small\n    \n    \n    Call arguments received by layer 'det' (type Det):\n      • x=1\n"
    )  # fmt: skip
    assert _reason(ValueError(text)) == "RuntimeError: too small (in 'det' (type Det))"
    assert _reason(ValueError("\x1b[1mplain\x1b[0m\n\nArguments received by X.call():\n x=1")) == "plain"
