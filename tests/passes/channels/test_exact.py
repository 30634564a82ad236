"""The proof of channel removal: zeroing the removed channels in the big model gives the outputs of the small one.

The big model is not run by the code under test. It is the user's own model, in which the filters, biases and
normalisation weights of the removed channels were set to zero, so that every such channel carries zeros (all the
activations in the families map 0 to 0, but for the gates of squeeze-and-excite blocks, whose product with a zero is 0).
If surgery kept a wrong row anywhere, the rows of the zeroed channels would be others, and the outputs would differ.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from edgeopt.models.graph.rebuild import read_native
from edgeopt.passes.channels import ChannelPruning
from edgeopt.passes.channels.dependencies import analyse
from edgeopt.passes.channels.verify import tolerance
from edgeopt.training.context import PassContext

# Weight name -> axis of the output channels; the kernels of depthwise and transposed convolutions differ.
_VECTORS = ("bias", "gamma", "beta", "moving_mean")
_LIGHT = ("cnn_1d", "auto_encoder", "u_net", "two_inputs", "nested", "squeeze_excite", "grouped")
_APPLICATIONS = (
    "MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "ResNet50", "DenseNet121",
    "Xception",
)  # fmt: skip


def output_axis(layer, weight):
    kind = type(layer).__name__
    if kind.startswith("Depthwise") or weight == "depthwise_kernel":
        return -2
    return -2 if kind.endswith("Transpose") else -1


def zero_channels(model, kept):
    """Set to zero, in place, what makes or scales the output channels that are not in `kept`."""
    for layer in model._flatten_layers(include_self=False):
        if layer.name not in kept:
            continue
        for variable in layer.weights:
            name = variable.name.split("/")[-1].split(":")[0]
            if name == "depthwise_kernel" and type(layer).__name__.startswith("Separable"):
                continue  # its channels are those of the layer before
            is_vector = name in _VECTORS
            if not is_vector and "kernel" not in name:
                continue
            values = np.array(variable.numpy())
            axis = 0 if is_vector else output_axis(layer, name)
            outputs = np.moveaxis(values, axis, 0)
            indices = kept[layer.name]
            if type(layer).__name__.startswith("Depthwise") and is_vector:
                indices = (indices[:, np.newaxis] * layer.depth_multiplier + np.arange(layer.depth_multiplier)).ravel()
            removed = np.setdiff1d(np.arange(len(outputs)), indices)
            outputs[removed] = 0.0
            variable.assign(values)


def sample(model, seed=5):
    generator = np.random.default_rng(seed)
    batch = [generator.normal(size=(3, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
    return batch if len(batch) > 1 else batch[0]


def outputs_of(model, inputs):
    found = model(inputs, training=False)
    return [np.asarray(tensor) for tensor in (found if isinstance(found, (list, tuple)) else [found])]


def gap(model, smaller, kept):
    """Return the largest difference relative to the output's scale, after zeroing in `model`; restores its weights."""
    before, inputs = model.get_weights(), sample(model)
    try:
        zero_channels(model, kept)
        pairs = zip(outputs_of(model, inputs), outputs_of(smaller, inputs), strict=True)
        return max(float(np.max(np.abs(want - have)) / np.max(np.abs(want))) for want, have in pairs)
    finally:
        model.set_weights(before)


def with_wrong_indices(kept):
    """Claim that the first group that was cut kept other channels than it did."""
    first = next(indices for indices in kept.values() if 0 < len(indices) <= indices.max())
    removed = np.setdiff1d(np.arange(first.max()), first)
    wrong = np.sort(np.concatenate([first[len(removed) :], removed])[: len(first)])
    return {name: wrong if np.array_equal(indices, first) else indices for name, indices in kept.items()}


def check(model, fraction=0.5):
    limit = tolerance(analyse(read_native(model)))
    result = ChannelPruning(fraction=fraction, importance="random").apply(model, PassContext(seed=1))
    kept = result.report.kept
    assert result.report.removed("macs") >= fraction
    assert gap(model, result.model, kept) <= limit
    # Planted: the same comparison, told wrong indices for one group, must fail by far more than rounding.
    assert gap(model, result.model, with_wrong_indices(kept)) > 10 * limit
    return result


@pytest.mark.parametrize("family", _LIGHT)
def test_small_families_compute_what_they_did_with_zeroed_channels(family, build, keras):
    model = build(family, keras)
    result = check(model, fraction=0.3)
    assert type(result.model).__module__.split(".")[0] == keras.__name__
    assert result.model.count_params() == result.report.costs["params"][1]
    assert result.report.max_difference <= tolerance(analyse(read_native(model)))


@pytest.mark.heavy
@pytest.mark.parametrize("family", _APPLICATIONS)
def test_applications_compute_what_they_did_with_zeroed_channels(family, build):
    size = 96 if family == "Xception" else 64
    check(build(family, importlib.import_module("keras"), size))


@pytest.mark.heavy
@pytest.mark.parametrize("family", ["MobileNetV3Small", "EfficientNetB0", "ResNet50", "DenseNet121"])
def test_tf_keras_applications_compute_what_they_did_with_zeroed_channels(family, build):
    check(build(family, importlib.import_module("tf_keras")))


def test_a_sigmoid_channel_is_removed_and_not_set_to_one_half(keras):
    """sigmoid(0) is not 0: removal takes away the rows that read the channel, as zero rows do."""
    layers = keras.layers
    hidden = layers.Dense(16, activation="sigmoid", name="hidden")
    model = keras.Sequential([keras.Input((6,)), hidden, layers.Dense(3, name="out")])
    result = ChannelPruning(fraction=0.4, importance="l2").apply(model, PassContext())
    removed = np.setdiff1d(np.arange(16), result.report.kept["hidden"])
    kernel, bias = model.get_layer("out").get_weights()
    kernel[removed] = 0.0
    model.get_layer("out").set_weights([kernel, bias])
    inputs = sample(model)
    # Sums of 16 products in float32: a few units in the last place.
    np.testing.assert_allclose(outputs_of(result.model, inputs)[0], outputs_of(model, inputs)[0], rtol=1e-5, atol=1e-6)
