"""The graph as a whole: nesting, sharing, names, order, what is frozen, and what training does."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import edgeopt
from edgeopt.errors import ModelError, UsageError
from edgeopt.models.bridge import RELATIVE_LIMIT, flatten, to_keras3, to_tf_keras


@pytest.fixture(params=["keras", "tf_keras"])
def way(request):
    """A flavour's module, and the two functions to the other one and back."""
    import keras
    import tf_keras

    return {"keras": (keras, to_tf_keras, to_keras3), "tf_keras": (tf_keras, to_keras3, to_tf_keras)}[request.param]


def names(model):
    return [layer.name for layer in model.layers]


def test_shared_layer_is_one_layer_called_twice(way):
    keras, there, _ = way
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    shared = keras.layers.Dense(3, name="shared")
    result = there(keras.Model([left, right], keras.layers.Add(name="sum")([shared(left), shared(right)])))
    assert names(result.model) == ["left", "right", "shared", "sum"]
    assert result.model.count_params() == 4 * 3 + 3


def test_inputs_of_one_shape_are_not_swapped(way):
    keras, there, back = way
    zebra, apple = keras.Input((3,), name="zebra"), keras.Input((3,), name="apple")
    model = keras.Model([zebra, apple], keras.layers.Subtract(name="z_minus_a")([zebra, apple]))
    for result in (there(model), back(there(model).model)):
        z, a = np.full((1, 3), 5.0, "float32"), np.full((1, 3), 2.0, "float32")
        assert np.asarray(result.model([z, a])).tolist() == [[3.0, 3.0, 3.0]]


def test_dictionaries_of_inputs_and_outputs_stay_dictionaries(way):
    keras, there, _ = way
    inputs = {"b": keras.Input((3,), name="b"), "a": keras.Input((3,), name="a")}
    outputs = {"z": keras.layers.Dense(2, name="z")(inputs["b"]), "y": keras.layers.Dense(1, name="y")(inputs["a"])}
    model = keras.Model(inputs, outputs)
    bridged = there(model).model
    batch = {"a": np.ones((2, 3), "float32"), "b": np.zeros((2, 3), "float32")}
    assert {key: value.shape for key, value in bridged(batch).items()} == {"z": (2, 2), "y": (2, 1)}


def test_models_nested_three_deep_are_flattened(way, randomise):
    keras, there, _ = way
    innermost = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(5, name="core"), keras.layers.BatchNormalization(name="norm")]
    )
    middle_in = keras.Input((6,))
    middle = keras.Model(middle_in, keras.layers.ReLU(name="relu")(innermost(middle_in)), name="middle")
    model = keras.Sequential([keras.Input((6,), name="x"), middle, keras.layers.Dense(2, name="top")])
    result = there(randomise(model))
    assert names(result.model) == ["x", "core", "norm", "relu", "top"]
    assert [note.rule for note in result.notes] == ["flattened", "flattened"]
    assert result.relative_difference <= RELATIVE_LIMIT


def test_nested_model_called_twice_keeps_one_set_of_weights(way):
    keras, there, _ = way
    tower = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="feature")], name="tower")
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    result = there(keras.Model([left, right], keras.layers.Dot(1, name="likeness")([tower(left), tower(right)])))
    assert names(result.model) == ["left", "right", "feature", "likeness"]


def test_output_of_a_nested_model_keeps_that_models_name(way):
    keras, there, _ = way
    x = keras.Input((4,), name="x")
    head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="logits")], name="head")
    result = there(keras.Model(x, head(x)))
    assert result.model.output_names == ["head"]
    assert result.model.get_layer("head").get_config()["activation"] == "linear"


def test_clashing_names_are_told_apart_and_noted(way):
    keras, there, _ = way
    x = keras.Input((4,), name="x")
    towers = [
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")], name=name)
        for name in ("red", "blue")
    ]
    y = keras.layers.Dense(2, name="dense")(keras.layers.Add(name="sum")([tower(x) for tower in towers]))
    result = there(keras.Model(x, y))
    assert sorted(names(result.model)) == ["blue_dense", "dense", "red_dense", "sum", "x"]
    assert result.model.get_layer("dense").units == 2
    assert {(note.layer, note.rule) for note in result.notes if note.rule == "renamed"} == {
        ("red_dense", "renamed"),
        ("blue_dense", "renamed"),
    }


def test_name_that_tensorflow_does_not_take_is_changed_and_noted():
    import keras

    x = keras.Input((4,), name="the input")
    result = to_tf_keras(keras.Model(x, keras.layers.Dense(3, name="größe (cm)")(x)))
    assert names(result.model) == ["the_input", "gr__e__cm_"]
    assert [note.rule for note in result.notes] == ["renamed", "renamed"]


def test_frozen_layers_stay_frozen_one_by_one(way):
    keras, there, back = way
    backbone = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="low"), keras.layers.Dense(3, name="high")], name="backbone"
    )
    model = keras.Sequential([keras.Input((4,)), backbone, keras.layers.Dense(2, name="head")])
    backbone.get_layer("low").trainable = False
    for result in (there(model), back(there(model).model)):
        assert {layer.name: layer.trainable for layer in result.model.layers if layer.weights} == {
            "low": False,
            "high": True,
            "head": True,
        }
    backbone.trainable = False
    assert {w.name.split("/")[0] for w in there(model).model.trainable_weights} <= {"head", "kernel", "bias"}
    assert len(there(model).model.trainable_weights) == 2


def test_frozen_bidirectional_layer_gets_its_weights_in_order(way, randomise):
    keras, there, _ = way
    x = keras.Input((3, 4))
    layer = keras.layers.Bidirectional(keras.layers.SimpleRNN(2), name="both")
    model = randomise(keras.Model(x, layer(x)))
    layer.forward_layer.trainable = False
    result = there(model)
    assert result.relative_difference <= RELATIVE_LIMIT
    assert not result.model.get_layer("both").forward_layer.trainable
    assert result.model.get_layer("both").backward_layer.trainable


def test_model_inside_a_wrapper_is_bridged_whole(way, randomise):
    keras, there, back = way
    frame = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(2, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(2, 3),
            keras.layers.Flatten(),
        ]
    )
    video = keras.Input((3, 6, 6, 1))
    model = randomise(keras.Model(video, keras.layers.TimeDistributed(frame, name="frames")(video)))
    other = there(model)
    assert max(other.relative_difference, back(other.model).relative_difference) <= RELATIVE_LIMIT


def test_fixed_batch_and_type_of_the_input_are_kept(way):
    keras, there, _ = way
    pixels = keras.Input(shape=(4, 4, 1), batch_size=3, dtype="uint8", name="pixels")
    result = there(keras.Model(pixels, keras.layers.Rescaling(1 / 255)(pixels)))
    assert tuple(result.model.inputs[0].shape) == (3, 4, 4, 1)
    assert str(getattr(result.model.inputs[0].dtype, "name", result.model.inputs[0].dtype)) == "uint8"


def test_cast_in_front_of_a_nested_model_is_kept(way):
    keras, there, _ = way
    inside = keras.Input((4, 4, 1))
    nested = keras.Model(inside, keras.layers.Conv2D(2, 3, name="conv")(inside), name="nested")
    pixels = keras.Input((4, 4, 1), dtype="uint8", name="pixels")
    result = there(keras.Model(pixels, keras.layers.Flatten()(nested(pixels))))
    assert result.relative_difference <= RELATIVE_LIMIT


def test_dropout_still_drops_in_training(way):
    keras, there, back = way
    x = keras.Input((200,), name="x")
    model = keras.Model(x, keras.layers.Dropout(0.5)(x))
    for result in (there(model), back(there(model).model)):
        dropped = np.asarray(result.model(np.ones((1, 200), "float32"), training=True))
        # each of the 200 is zero with probability 1/2: all or none of them, with 2^-199
        assert 0 < int((dropped == 0).sum()) < 200


def test_backbone_called_in_inference_mode_keeps_its_statistics_when_trained():
    import keras

    backbone = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(name="norm")], name="backbone")
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(1)(backbone(x, training=False)))
    bridged = to_tf_keras(model).model
    bridged.compile("sgd", "mse")
    bridged.fit(np.full((32, 4), 9.0, "float32"), np.zeros((32, 1), "float32"), verbose=0)
    assert bridged.get_layer("norm").moving_mean.numpy().tolist() == [0.0] * 4


def test_masks_reach_recurrent_layers_on_either_side(way, randomise):
    keras, there, back = way
    tokens = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(4, 3, mask_zero=True, name="words")(tokens)
    x = keras.layers.SimpleRNN(3, name="reader")(keras.layers.Dropout(0.1)(x))
    model = randomise(keras.Model(tokens, x))
    other = there(model)
    again = back(other.model)
    assert max(other.relative_difference, again.relative_difference) <= RELATIVE_LIMIT
    padded, short = np.array([[1, 2, 3, 0, 0, 0]]), np.array([[1, 2, 3, 0, 0, 3]])
    for result in (other, again):
        assert not np.allclose(result.model(padded), result.model(short))
        assert np.allclose(result.model(padded), model(padded), atol=1e-6)


def test_state_handed_from_one_recurrent_layer_to_another(way):
    keras, there, back = way
    signal = keras.Input((4, 3))
    _, state = keras.layers.SimpleRNN(2, return_state=True, name="encoder")(signal)
    model = keras.Model(signal, keras.layers.SimpleRNN(2, name="decoder")(signal, initial_state=[state]))
    other = there(model)
    assert max(other.relative_difference, back(other.model).relative_difference) <= RELATIVE_LIMIT


def test_mask_that_an_operation_ends_does_not_come_back_to_life(way):
    keras, there, back = way
    tokens = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(4, 3, mask_zero=True)(tokens)
    model = keras.Model(tokens, keras.layers.SimpleRNN(3)(x * 2.0 + x))
    other = there(model)
    assert max(other.relative_difference, back(other.model).relative_difference) <= RELATIVE_LIMIT


def test_sequential_without_an_input_is_refused(way):
    keras, there, _ = way
    with pytest.raises(ModelError, match=r"Sequential 'bare' was never built, .* start it with an Input"):
        there(keras.Sequential([keras.layers.Dense(3)], name="bare"))


def test_other_backend_of_keras_3_is_refused(monkeypatch):
    import keras

    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match=r"runs on jax, .* set KERAS_BACKEND=tensorflow"):
        to_tf_keras(model)


def masked_decoder(keras):
    tokens = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(4, 3, mask_zero=True)(tokens)
    _, state = keras.layers.SimpleRNN(3, return_state=True, name="encoder")(x)
    return keras.Model(tokens, keras.layers.SimpleRNN(3, name="decoder")(x, initial_state=[state]))


def test_mask_beside_a_state_is_passed_on_to_keras_3():
    import tf_keras

    assert to_keras3(masked_decoder(tf_keras)).relative_difference <= RELATIVE_LIMIT


def test_mask_that_keras_3_ignores_beside_a_state_is_refused():
    import keras

    with pytest.raises(ModelError, match=r"'decoder' is called with initial_state on masked inputs"):
        to_tf_keras(masked_decoder(keras))


def test_half_precision_model_is_compared_in_float32():
    import keras

    x = keras.Input((8,))
    policy = keras.DTypePolicy("mixed_float16")
    model = keras.Model(
        x, keras.layers.Dense(3, dtype=policy)(keras.layers.Dense(8, dtype=policy, activation="relu")(x))
    )
    result = to_tf_keras(model)
    assert "float32" in {note.rule for note in result.notes}
    assert {layer.compute_dtype for layer in result.model.layers} == {"float32"}


def test_called_in_training_mode_is_refused(way):
    keras, there, _ = way
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dropout(0.5, name="monte_carlo")(x, training=True))
    with pytest.raises(ModelError, match=r"'monte_carlo' is called with training=True"):
        there(model)


def test_flatten_stays_in_its_flavour_and_copies(way):
    keras, _, _ = way
    x = keras.Input((4,), name="x")
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="core")], name="inner")
    model = keras.Model(x, keras.layers.ReLU(name="out")(inner(x)))
    result = flatten(model)
    assert isinstance(result.model, keras.Model)
    assert names(result.model) == ["x", "core", "out"]
    assert result.model.get_layer("core") is not inner.get_layer("core")
    assert result.max_difference == 0.0


def test_source_model_is_left_as_it_was(way):
    keras, there, _ = way
    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(3)(x))
    before = [weight.copy() for weight in model.get_weights()]
    bridged = there(model).model
    bridged.set_weights([np.zeros_like(weight) for weight in before])
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_model_of_the_other_flavour_is_refused(way):
    keras, _, back = way
    x = keras.Input((4,))
    with pytest.raises(UsageError, match=r"expected a (tf_)?keras model"):
        back(keras.Model(x, keras.layers.Dense(1)(x)))


def test_facade_offers_the_bridge():
    assert edgeopt.bridge.to_tf_keras is to_tf_keras
    assert set(edgeopt.bridge.__all__) >= {"register", "to_keras3", "to_tf_keras"}


def test_importing_the_bridge_imports_no_tensorflow():
    script = (
        "import sys, edgeopt; edgeopt.bridge.register; "
        "print(sorted({'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_anything_but_a_model_is_refused():
    with pytest.raises(UsageError, match=r"Received builtins\.list; expected a keras model"):
        to_tf_keras([1, 2])
