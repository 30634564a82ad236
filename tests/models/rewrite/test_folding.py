"""What scales and shifts goes into the weights beside it where that is exact, and stays, with the reason, elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import ConversionError
from edgeopt.models.bridge import RELATIVE_LIMIT
from edgeopt.models.rewrite import affine, prove, rewrite

SHAPES = {1: (9, 6), 2: (9, 8, 6)}
CONVOLUTIONS = {
    "Conv1D": (1, {"filters": 4, "kernel_size": 3}),
    "Conv2D": (2, {"filters": 4, "kernel_size": 3, "strides": 2}),
    "groups": (2, {"filters": 4, "kernel_size": 3, "groups": 2}),
    "dilated": (2, {"filters": 4, "kernel_size": 3, "dilation_rate": 2}),
    "pointwise": (2, {"filters": 4, "kernel_size": 1, "padding": "same", "strides": 2}),
    "DepthwiseConv1D": (1, {"kernel_size": 3, "depth_multiplier": 2}),
    "DepthwiseConv2D": (2, {"kernel_size": 3, "depth_multiplier": 2}),
    "SeparableConv1D": (1, {"filters": 4, "kernel_size": 3, "depth_multiplier": 2}),
    "SeparableConv2D": (2, {"filters": 4, "kernel_size": 3, "depth_multiplier": 2}),
    "Conv1DTranspose": (1, {"filters": 4, "kernel_size": 3, "strides": 2}),
    "Conv2DTranspose": (2, {"filters": 4, "kernel_size": 3, "strides": 2}),
    "Dense": (2, {"units": 4}),
}
ALIASES = {"groups": "Conv2D", "dilated": "Conv2D", "pointwise": "Conv2D"}


def weighted(keras, name, **more):
    rank, settings = CONVOLUTIONS[name]
    layer = getattr(keras.layers, ALIASES.get(name, name))
    return layer(name="layer", bias_initializer="normal", **{**settings, **more}), SHAPES[rank]


def trained(layer, seed=0):
    """Give a BatchNormalization the numbers of one that has learnt."""
    random, count = np.random.default_rng(seed), layer.get_weights()[0].size
    layer.set_weights([
        random.uniform(0.5, 1.5, count), random.normal(0, 0.3, count),
        random.normal(0, 0.3, count), random.uniform(0.3, 2, count),
    ])  # fmt: skip
    return layer


def norm(keras):
    return keras.layers.BatchNormalization(name="norm")


def chain(keras, shape, *layers):
    tensor = start = keras.Input(shape, name="image")
    for layer in layers:
        tensor = layer(tensor)
    for layer in layers:
        if type(layer).__name__ == "BatchNormalization":
            trained(layer)
    return keras.Model(start, tensor, name="net")


def names(model):
    return [layer.name for layer in model.layers if type(layer).__name__ != "InputLayer"]


def fixed(model):
    """Rewrite, and prove; the result computes the same."""
    rewritten = rewrite(model)
    assert prove(model, rewritten).relative_difference <= RELATIVE_LIMIT
    return rewritten


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("name", "use_bias"),
    [*((name, True) for name in CONVOLUTIONS), *((name, False) for name in ("Dense", "SeparableConv2D", "Conv1D"))],
)
def test_a_norm_behind_a_layer_goes_into_its_weights(any_keras, name, use_bias):
    layer, shape = weighted(any_keras, name, use_bias=use_bias)
    rewritten = fixed(chain(any_keras, shape, layer, norm(any_keras), any_keras.layers.ReLU(name="relu")))
    assert names(rewritten.model) == ["layer", "relu"]
    assert [change.rule for change in rewritten.changes] == ["folded"]
    assert rewritten.left == ()


@pytest.mark.smoke
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_norm_in_front_of_a_layer_goes_into_its_weights(any_keras, name):
    layer, shape = weighted(any_keras, name)
    rewritten = fixed(chain(any_keras, shape, norm(any_keras), layer))
    if "Transpose" in name:  # fewer places of the kernel meet an input near the border
        assert names(rewritten.model) == ["norm", "layer"] and rewritten.left[0].rule == "padding"
    else:
        assert names(rewritten.model) == ["layer"] and rewritten.left == ()


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if name not in ("Dense", "pointwise")])
def test_zero_padding_takes_a_scale_and_no_offset(any_keras, name):
    padded, shape = weighted(any_keras, name, padding="same")
    rescaling = any_keras.layers.Rescaling
    rewritten = fixed(chain(any_keras, shape, rescaling(1 / 4, name="scale"), padded))
    assert names(rewritten.model) == ["layer"]
    padded, shape = weighted(any_keras, name, padding="same")
    rewritten = fixed(chain(any_keras, shape, rescaling(1 / 4, 0.5, name="scale"), padded))
    assert names(rewritten.model) == ["scale", "layer"]
    (left,) = rewritten.left
    assert (left.layer, left.rule) == ("scale", "padding")
    assert "'layer' pads with zeros" in left.reason and "padding='valid'" in left.remedy


def test_an_offset_folded_in_spite_of_padding_is_found_out_and_its_layer_named(any_keras, monkeypatch):
    monkeypatch.setattr(affine, "_pads", lambda layer: False)
    padded, shape = weighted(any_keras, "Conv2D", padding="same")
    model = chain(
        any_keras, shape, any_keras.layers.Rescaling(1.0, 0.5, name="scale"), padded,
        any_keras.layers.ReLU(name="relu"),
    )  # fmt: skip
    rewritten = rewrite(model)
    with pytest.raises(ConversionError, match=r"first at layer 'layer' \(Conv2D\), by .* on equal inputs; nothing"):
        prove(model, rewritten)


@pytest.mark.parametrize("wrong", ["kernel", "bias"])
def test_a_wrong_weight_is_found_out(any_keras, wrong):
    layer, shape = weighted(any_keras, "Conv2D")
    model = chain(any_keras, shape, layer, norm(any_keras))
    rewritten = rewrite(model)
    values = rewritten.model.get_layer("norm").get_weights()
    values[wrong == "bias"].flat[0] += 0.01
    rewritten.model.get_layer("norm").set_weights(values)
    with pytest.raises(ConversionError, match="first at layer 'norm'"):
        prove(model, rewritten)


def test_a_wrong_weight_is_found_behind_a_softmax_that_hides_it(any_keras):
    """Logits of some 10^4 give ones and zeros, whatever a percent does to them."""
    any_keras.utils.set_random_seed(0)  # of some draws, two logits lie close together
    dense = any_keras.layers.Dense(3, name="dense")
    model = chain(any_keras, (4,), dense, norm(any_keras), any_keras.layers.Softmax(name="soft"))
    values = model.get_layer("norm").get_weights()
    model.get_layer("norm").set_weights([1e4 * values[0], *values[1:]])
    rewritten = rewrite(model)
    assert prove(model, rewritten).max_difference < 1e-5
    made = rewritten.model.get_layer("dense")
    made.set_weights([1.01 * array for array in made.get_weights()])
    with pytest.raises(ConversionError, match="first at layer 'dense'"):
        prove(model, rewritten)


def test_rounding_beyond_the_limit_is_an_error_that_names_the_layer(any_keras):
    """float32 near 10^4 has steps of 10^-3; the norm makes a tenth of its scale of them, the folded layer nothing."""
    layer = any_keras.layers.Dense(3, name="dense", bias_initializer=any_keras.initializers.Constant(1e4))
    model = chain(any_keras, (4,), layer, norm(any_keras), any_keras.layers.ReLU())
    ones = np.ones(3, "float32")
    model.get_layer("norm").set_weights([ones, 0 * ones, 1e4 * ones, 1e-4 * ones])
    rewritten = rewrite(model)
    with pytest.raises(ConversionError, match="first at layer 'dense'"):
        prove(model, rewritten)


def test_normalization_and_rescaling_go_through_what_changes_no_number(any_keras):
    layers = any_keras.layers
    values = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 0.25], name="values")
    model = chain(
        any_keras, (5, 4, 3), values, layers.Dropout(0.5, name="drop"), layers.MaxPooling2D(2, name="pool"),
        layers.Flatten(name="flat"), layers.Dense(4, name="dense"),
    )  # fmt: skip
    assert names(fixed(model).model) == ["drop", "pool", "flat", "dense"]
    model = chain(
        any_keras, (5, 4, 3), layers.Rescaling(0.1, name="scale"), layers.ZeroPadding2D(1, name="zeros"),
        layers.Conv2D(4, 3, name="conv"),
    )  # fmt: skip
    assert names(fixed(model).model) == ["zeros", "conv"]
    model = chain(
        any_keras, (5, 4, 3), layers.Rescaling(0.1, 0.5, name="scale"), layers.ZeroPadding2D(1, name="zeros"),
        layers.Conv2D(4, 3, name="conv"),
    )  # fmt: skip
    assert fixed(model).left[0].reason.startswith("'zeros' pads with zeros")


def test_a_maximum_keeps_a_negative_scale_out(any_keras):
    layers = any_keras.layers
    model = chain(any_keras, (4, 4, 2), layers.Rescaling(-1.0, name="scale"), layers.MaxPooling2D(2), layers.Dense(2))
    assert fixed(model).left[0].layer == "scale"


def test_chains_of_scalings_go_one_after_the_other(any_keras):
    layers = any_keras.layers
    model = chain(
        any_keras, (4,), layers.Rescaling(0.5, name="one"), layers.Normalization(mean=1.0, variance=2.0, axis=None),
        layers.Dense(4, name="dense"), norm(any_keras), layers.Rescaling(3.0, 1.0, name="end"),
    )  # fmt: skip
    rewritten = fixed(model)
    assert names(rewritten.model) == ["end"], "the layer that gives the model's output has its name"
    assert [change.rule for change in rewritten.changes] == ["folded"] * 4


def test_scalings_without_a_neighbour_become_one(any_keras):
    layers = any_keras.layers
    model = chain(
        any_keras, (6, 6, 2), layers.Rescaling(1 / 255, name="scale"),
        layers.Normalization(mean=[0.4, 0.5], variance=[0.04, 0.05], name="values"),
        layers.Conv2D(4, 3, padding="same", name="conv"),
    )  # fmt: skip
    rewritten = fixed(model)
    assert names(rewritten.model) == ["values", "conv"]
    assert [type(layer).__name__ for layer in rewritten.model.layers[1:2]] == ["Rescaling"]
    assert [(change.layer, change.rule) for change in rewritten.changes] == [("scale", "merged")]
    assert [(left.layer, left.rule) for left in rewritten.left] == [("values", "padding")]


def test_what_stands_in_the_way_is_told(any_keras):
    layers = any_keras.layers
    image = any_keras.Input((8, 8, 3), name="image")
    active = trained(norm_after(any_keras, layers.Conv2D(4, 3, activation="relu", name="active"), image, "after_relu"))
    branch = layers.Conv2D(4, 3, name="branch")(image)
    split = layers.BatchNormalization(name="split")
    both = layers.Add(name="both")([split(branch), branch])
    twice = layers.Conv2D(4, 3, name="twice")
    shared = layers.BatchNormalization(name="after_shared")
    x = layers.Add(name="sum")([active.output, both, shared(twice(image)), twice(image)])
    lone = layers.BatchNormalization(name="lone")
    x = layers.Softmax(name="soft")(lone(x))
    rewritten = fixed(any_keras.Model(image, x))
    assert {entry.layer: entry.rule for entry in rewritten.left} == {
        **{"after_relu": "activation", "split": "several-users", "after_shared": "shared", "lone": "no-neighbour"}
    }
    assert rewritten.changes == ()
    assert all(entry.remedy for entry in rewritten.left)


def norm_after(keras, layer, tensor, name):
    found = keras.layers.BatchNormalization(name=name)
    found(layer(tensor))
    return found


def test_only_numbers_by_channel_are_folded(any_keras):
    layers = any_keras.layers
    rows = layers.Normalization(axis=1, mean=np.arange(5.0), variance=np.ones(5), name="rows")
    model = chain(any_keras, (5, 3), rows, layers.Conv1D(4, 3, name="conv"))
    assert fixed(model).left[0].rule == "axis"


def test_integer_inputs_and_half_precision_stay(any_keras):
    layers = any_keras.layers
    image = any_keras.Input((5, 5, 3), dtype="uint8", name="image")
    model = any_keras.Model(image, layers.Conv2D(4, 3)(layers.Rescaling(1 / 255, name="scale")(image)))
    assert fixed(model).left[0].rule == "integer-input"
    image = any_keras.Input((5, 5, 3), name="image")
    half = layers.Conv2D(4, 3, name="conv", dtype="mixed_float16")(image)
    model = any_keras.Model(image, layers.BatchNormalization(name="norm", dtype="mixed_float16")(half))
    assert fixed(model).left[0].rule == "half-precision"
