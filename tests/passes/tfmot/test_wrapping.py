"""A model as TFMOT can wrap it, and its weights back in the flavour that was given."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ConversionError, ModelError, UsageError
from edgeopt.passes.tfmot.wrapping import carry_back, check_any, check_layer_names, wrap, wrappable
from edgeopt.training.context import Skipped


def test_layers_with_kernels_are_found_in_order_and_at_the_ends(build, keras):
    source = wrappable(build("u_net", keras), 0)
    assert list(source.layers) == ["down_16", "down_24", "bottom", "up_24", "up_16", "mask"]
    assert (source.first, source.last) == ({"down_16"}, {"mask"})


def test_several_inputs_and_outputs_have_several_ends(build, keras):
    source = wrappable(build("two_inputs", keras), 0)
    assert (source.first, source.last) == ({"shared"}, {"score", "kind"})


def test_nested_models_are_flat(build, keras):
    assert list(wrappable(build("nested", keras), 0).layers) == ["stem", "spatial", "hidden", "classes"]


def test_masked_layers_are_told(keras):
    words = keras.Input((6,), dtype="int32", name="words")
    x = keras.layers.Embedding(10, 4, mask_zero=True, name="embedding")(words)
    x = keras.layers.LSTM(3, name="memory")(x)
    model = keras.Model(words, keras.layers.Dense(2, name="classes")(x), name="masked")
    assert wrappable(model, 0).masked == {"embedding", "memory"}


def test_every_layer_is_handed_out_once_and_the_model_computes_the_same(build, keras):
    source = wrappable(build("squeeze_excite", keras), 0)
    seen = []
    again = wrap(source, lambda name, layer: seen.append(name) or layer)
    assert len(seen) == len(set(seen))
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    np.testing.assert_array_equal(again(image).numpy(), source.model(image).numpy())


def test_a_wrapper_gets_all_arguments_but_the_first_by_name():
    """The second positional argument of TFMOT's wrappers is `training`, whatever they wrap."""
    import tf_keras

    sequence = tf_keras.Input((5, 8), name="sequence")
    attended = tf_keras.layers.MultiHeadAttention(2, 4, name="attention")(sequence, sequence)
    source = wrappable(tf_keras.Model(sequence, attended, name="attends"), 0)
    calls = []

    class Wrapper(tf_keras.layers.Wrapper):
        def call(self, inputs, training=None, **kwargs):
            calls.append((training, sorted(kwargs)))
            return self.layer(inputs, **kwargs)

    wrap(source, lambda name, layer: Wrapper(layer) if name == "attention" else layer)
    assert calls and all("value" in names for _, names in calls)


def test_weights_come_back_in_the_users_flavour_and_the_original_stays(build, keras):
    model = build("cnn_1d", keras)
    before = [weight.numpy().copy() for weight in model.weights]
    source = wrappable(model, 0)
    for weight in source.model.weights:
        weight.assign(weight * 0.5)
    result = carry_back(source, source.model, 0)
    assert isinstance(result, keras.Model)
    np.testing.assert_array_equal(
        result.get_layer("hidden").kernel.numpy(), model.get_layer("hidden").kernel.numpy() * 0.5
    )
    assert all((weight.numpy() == old).all() for weight, old in zip(model.weights, before, strict=True))


def test_a_trained_model_of_other_layers_is_refused(build, keras):
    other = wrappable(build("auto_encoder", keras), 0).model
    with pytest.raises(ConversionError, match=r"trained layer 'dense_0' has no counterpart in 'cnn_1d'"):
        carry_back(wrappable(build("cnn_1d", keras), 0), other, 0)


def test_unknown_names_are_answered_with_the_nearest(build, keras):
    source = wrappable(build("cnn_1d", keras), 0)
    with pytest.raises(UsageError, match=r"skip names 'hiden', which is no layer of the model; did you mean 'hidden'"):
        check_layer_names(source, ["hiden"], "skip")
    with pytest.raises(UsageError, match=r"layers names 'norm', which has no kernel"):
        check_layer_names(source, ["norm"], "layers")


def test_nothing_to_do_is_an_error_with_the_reasons(build, keras):
    source = wrappable(build("auto_encoder", keras), 0)
    with pytest.raises(
        ModelError, match=r"has nothing to prune: its 5 layers with kernels are left out \(in-skip-list\)"
    ):
        check_any(source, [], [Skipped("dense_0", "in-skip-list")], "prune")
