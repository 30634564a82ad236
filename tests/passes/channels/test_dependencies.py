"""Which channels belong together, and which must stay and why."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from edgeopt.models.graph.rebuild import read_native
from edgeopt.passes.channels import ChannelPruning, Reason
from edgeopt.passes.channels.dependencies import analyse
from edgeopt.training.context import PassContext


def groups_of(model):
    return {group.name: group for group in analyse(read_native(model)).groups}


def reasons_of(model):
    return {name: group.block.reason if group.block else None for name, group in groups_of(model).items()}


def image(keras, size=8, channels=3):
    return keras.Input((size, size, channels), name="image")


def ended(keras, inputs, x):
    """Put a head on, so that what is tested is not an output."""
    layers = keras.layers
    if len(x.shape) > 2:
        x = layers.Flatten(name="end_flat")(x)
    return keras.Model(inputs, layers.Dense(2, name="end")(x))


def test_a_chain_has_one_group_a_layer_and_the_last_is_the_output(keras, build):
    reasons = reasons_of(build("auto_encoder", keras))
    assert reasons == {f"dense_{i}": None for i in range(4)} | {"rebuilt": Reason.MODEL_OUTPUT}


def test_an_addition_ties_all_that_is_added_along_the_residual_path(keras):
    layers, inputs = keras.layers, image(keras)
    x = layers.Conv2D(16, 3, padding="same", name="stem")(inputs)
    for block in range(2):
        y = layers.Conv2D(24, 3, padding="same", activation="relu", name=f"inner_{block}")(x)
        x = layers.Add(name=f"sum_{block}")([x, layers.Conv2D(16, 3, padding="same", name=f"outer_{block}")(y)])
    groups = groups_of(ended(keras, inputs, x))
    assert groups["stem"].layers == ("stem", "outer_0", "outer_1")
    assert groups["inner_0"].layers == ("inner_0",)


def test_squeeze_and_excite_gates_are_tied_to_what_they_multiply(keras, build):
    groups = groups_of(build("squeeze_excite", keras))
    assert groups["stem"].layers == ("stem", "inner", "excite")
    assert groups["reduce"].layers == ("reduce",)


def test_a_group_normalisation_lets_whole_groups_go(keras, build):
    group = groups_of(build("squeeze_excite", keras))["stem"]
    assert (len(group.units), group.width, group.block) == (4, 8, None)


def test_a_grouped_convolution_is_cut_by_whole_groups_with_its_inputs(keras, build):
    group = groups_of(build("grouped", keras))["stem"]
    assert group.layers == ("stem", "grouped")
    assert (len(group.units), group.width, group.channels) == (8, 4, 32)


def test_concatenated_channels_stay_apart_and_a_sum_over_them_ties_by_offset(keras):
    layers, inputs = keras.layers, image(keras)
    left, right = layers.Conv2D(8, 1, name="left")(inputs), layers.Conv2D(16, 1, name="right")(inputs)
    both = layers.Concatenate(name="both")([left, right])
    other = layers.Conv2D(24, 1, name="other")(inputs)
    groups = groups_of(ended(keras, inputs, layers.Add(name="sum")([both, other])))
    assert groups["left"].layers == ("left", "other")
    assert groups["right"].layers == ("right", "other")
    assert (groups["left"].channels, groups["right"].channels) == (8, 16)


def test_a_concatenation_along_another_axis_ties(keras):
    layers, inputs = keras.layers, image(keras)
    left, right = layers.Conv2D(8, 1, name="left")(inputs), layers.Conv2D(8, 1, name="right")(inputs)
    groups = groups_of(ended(keras, inputs, layers.Concatenate(axis=1, name="stacked")([left, right])))
    assert groups["left"].layers == ("left", "right")


def test_a_shared_layer_ties_the_inputs_of_all_its_calls(keras):
    layers = keras.layers
    first, second = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    left, right = layers.Dense(8, name="left")(first), layers.Dense(8, name="right")(second)
    shared = layers.Dense(16, name="shared")
    x = layers.Concatenate(name="both")([shared(left), shared(right)])
    groups = groups_of(ended(keras, [first, second], x))
    assert {frozenset(group.layers) for group in groups.values()} >= {frozenset({"left", "right"})}
    assert groups["shared"].channels == 16


def test_a_depthwise_multiplier_goes_with_its_input_channel(keras, build):
    groups = groups_of(build("cnn_1d", keras))
    assert groups["separable"].layers == ("separable", "depthwise")
    assert groups["separable"].channels == 24


def test_a_nested_model_is_seen_through(keras, build):
    groups = groups_of(build("nested", keras))
    assert groups["stem"].layers == ("stem", "spatial")
    assert groups["stem"].block is None


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda layers, x: layers.LayerNormalization(name="norm")(x), Reason.NORMALISED),
        (lambda layers, x: layers.UnitNormalization(name="norm")(x), Reason.NORMALISED),
        (lambda layers, x: layers.Softmax(name="share")(x), Reason.SOFTMAX),
        (lambda layers, x: layers.Activation("softmax", name="share")(x), Reason.SOFTMAX),
        (lambda layers, x: layers.Reshape((64, 4, 4), name="split")(x), Reason.RESHAPE),
        (lambda layers, x: layers.Rescaling([1.0] * 16, name="each")(x), Reason.LAYER),
        (lambda layers, x: layers.Dense(4, name="rows")(layers.Permute((1, 3, 2), name="turn")(x)), Reason.AXES),
        (lambda layers, x: layers.LSTM(4, name="memory")(layers.Reshape((64, 16), name="steps")(x)), Reason.LAYER),
        (lambda layers, x: layers.TimeDistributed(layers.Dense(4), name="each")(x), Reason.LAYER),
        (lambda layers, x: layers.Lambda(lambda y: y * 2.0, name="own")(x), Reason.LAYER),
    ],
    ids=["layer-norm", "unit-norm", "softmax", "activation", "split", "each", "permuted", "lstm", "wrapped", "lambda"],
)
def test_what_cannot_be_followed_stays_with_the_reason(keras, end, reason):
    inputs = image(keras)
    x = keras.layers.Conv2D(16, 3, padding="same", name="stem")(inputs)
    assert reasons_of(ended(keras, inputs, end(keras.layers, x)))["stem"] is reason


def test_what_a_layer_normalisation_leaves_alone_can_still_go(keras):
    """Normalised over height and width only, each channel has statistics of its own."""
    inputs = image(keras)
    x = keras.layers.Conv2D(16, 3, padding="same", name="stem")(inputs)
    x = keras.layers.LayerNormalization(axis=[1, 2], name="norm")(x)
    assert reasons_of(ended(keras, inputs, x))["stem"] is None


def test_spatial_attention_of_one_channel_does_not_tie(keras):
    layers, inputs = keras.layers, image(keras)
    x = layers.Conv2D(16, 3, padding="same", name="stem")(inputs)
    mask = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="mask")(x)
    reasons = reasons_of(ended(keras, inputs, layers.Multiply(name="seen")([x, mask])))
    assert reasons["stem"] is None
    assert reasons["mask"] is Reason.AXES


def test_channels_first_is_refused(keras):
    inputs = keras.Input((3, 8, 8), name="image")
    x = keras.layers.ZeroPadding2D(1, data_format="channels_first", name="pad")(inputs)
    model = ended(keras, inputs, keras.layers.Dense(16, name="hidden")(keras.layers.Flatten(name="flat")(x)))
    channel_map = analyse(read_native(model))
    assert channel_map.groups[0].block is None
    x = keras.layers.Dense(16, name="rows")(inputs)
    x = keras.layers.MaxPooling2D(2, data_format="channels_first", name="pool")(x)
    assert reasons_of(ended(keras, inputs, x))["rows"] is Reason.CHANNELS_FIRST


@pytest.mark.parametrize(
    ("family", "free", "outputs"),
    [
        ("u_net", {"down_16", "down_24", "bottom", "up_24", "up_16"}, {"mask"}),
        ("two_inputs", {"shared"}, {"kind", "score"}),
        ("cnn_1d", {"first", "separable", "hidden"}, {"classes"}),
    ],
)
def test_only_what_makes_the_outputs_stays_in_a_family_and_for_that_reason(keras, build, family, free, outputs):
    expected = {**dict.fromkeys(free), **dict.fromkeys(outputs, Reason.MODEL_OUTPUT)}
    assert reasons_of(build(family, keras)) == expected


OPERATIONS = {
    "sum": (lambda ops, x: ops.add(x, ops.relu(x)), None),
    "scaled": (lambda ops, x: x * 2.0 + 1.0, None),
    "mean": (lambda ops, x: ops.mean(x, axis=(1, 2)), None),
    "mean-kept": (lambda ops, x: x * ops.sigmoid(ops.mean(x, axis=[1, 2], keepdims=True)), None),
    "transposed": (lambda ops, x: ops.transpose(ops.transpose(x, (0, 3, 1, 2)), (0, 2, 3, 1)), None),
    "joined": (lambda ops, x: ops.concatenate([x, x], axis=-1), None),
    "cropped": (lambda ops, x: x[:, 1:3], None),
    "padded": (lambda ops, x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), None),
    "expanded": (lambda ops, x: ops.squeeze(ops.expand_dims(x, 1), 1), None),
    "sliced": (lambda ops, x: x[..., :8], Reason.OPERATION),
    "softmax": (lambda ops, x: ops.softmax(x), Reason.SOFTMAX),
    "mean-over": (lambda ops, x: ops.mean(x, axis=-1), Reason.NORMALISED),
    "each": (lambda ops, x: x * np.arange(16, dtype="float32"), Reason.OPERATION),
    "numbered": (lambda ops, x: ops.reshape(x, (-1, 64 * 16)), Reason.RESHAPE),
    "sorted": (lambda ops, x: ops.sort(x, axis=-1), Reason.OPERATION),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_bare_operations_are_followed_or_stop_the_cut(name):
    keras = importlib.import_module("keras")
    function, reason = OPERATIONS[name]
    inputs = image(keras)
    x = keras.layers.Conv2D(16, 3, padding="same", name="stem")(inputs)
    model = ended(keras, inputs, function(keras.ops, x))
    assert reasons_of(model)["stem"] is reason
    if reason is None:
        report = ChannelPruning(fraction=0.4).apply(model, PassContext()).report
        assert len(report.kept["stem"]) == 8


@pytest.mark.parametrize("name", ["scaled", "mean", "mean-kept", "cropped", "joined", "padded"])
def test_tensorflow_functions_in_a_tf_keras_graph_are_followed_as_well(name):
    import tensorflow as tf

    class Functions:
        """TensorFlow under the names of keras.ops."""

        mean, sigmoid, pad = staticmethod(tf.reduce_mean), staticmethod(tf.sigmoid), staticmethod(tf.pad)
        concatenate = staticmethod(tf.concat)

    keras = importlib.import_module("tf_keras")
    inputs = image(keras)
    x = keras.layers.Conv2D(16, 3, padding="same", name="stem")(inputs)
    model = ended(keras, inputs, OPERATIONS[name][0](Functions, x))
    result = ChannelPruning(fraction=0.4).apply(model, PassContext())
    assert len(result.report.kept["stem"]) == 8
    assert not [layer for layer in result.model.layers if "edgeopt" in type(layer).__module__]
