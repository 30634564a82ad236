"""Zeros and distinct values: in a model's kernels, in a file's integers, and what counts as a loss."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.errors import FileFormatError, PropertyLostError
from edgeopt.flatbuffer.kernels import FileKernel
from edgeopt.passes.properties import WeightProperty, check_kept, measure_file, measure_kernel, measure_model


def test_zeros_and_values_of_a_kernel():
    found = measure_kernel(np.array([[0.0, 1.0, 3.0], [0.0, 2.0, 3.0], [0.0, 0.0, 3.0]]))
    assert (found.size, found.zeros, found.clusters, found.channel_clusters) == (9, 4, 4, 3)
    assert found.sparsity == pytest.approx(4 / 9)


def test_channels_may_lie_on_two_axes():
    """A depthwise kernel (1, 2, 2, 1): each of its two input channels is a channel of the file."""
    values = np.array([[1.0, 5.0], [1.0, 6.0]]).reshape(1, 2, 2, 1)
    assert measure_kernel(values, (-2, -1)).channel_clusters == 2
    assert measure_kernel(values, ()).channel_clusters == 3


def test_few_values_or_many_zeros_are_a_property_and_a_chance_zero_is_none():
    values = np.arange(100.0).reshape(10, 10)
    assert not measure_kernel(values).sparse and not measure_kernel(values).clustered
    assert measure_kernel(np.where(values < 10, 0.0, values)).sparse
    assert measure_kernel(values // 2).clustered


def test_a_kernel_that_is_mostly_zero_is_not_clustered_by_that():
    """Ten of a hundred weights are left, all different: eleven values, and no clusters."""
    values = np.where(np.arange(100.0) < 90, 0.0, np.arange(100.0)).reshape(10, 10)
    assert measure_kernel(values).sparse and not measure_kernel(values).clustered
    assert measure_kernel(np.where(values > 0, np.round(values / 8), 0.0)).clustered


def prepared(keras):
    """A net of all kinds of kernels, half of them zero, or of few values."""
    layers = keras.layers
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, use_bias=False, name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.SeparableConv2D(8, 3, name="separable")(x)
    x = layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = layers.Conv2DTranspose(8, 3, name="up")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(16, activation="relu", name="hidden")(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="classes")(x), name="net")


def set_kernels(model, change):
    generator = np.random.default_rng(5)
    for weight in model.weights:
        name = weight.name.split("/")[-1].split(":")[0]
        if "kernel" in name:
            weight.assign(change(generator.normal(size=weight.shape)).astype("float32"))
    return model


def halved(values):
    return np.where(np.abs(values) < np.median(np.abs(values)), 0.0, values)


def few_values(values):
    """Ten values or so, the most frequent of them zero."""
    return np.round(np.clip(values, -1.0, 1.5) * 1.2) * 0.3


KERNELS = ["conv", "separable/depthwise_kernel", "separable/pointwise_kernel", "depthwise", "up", "hidden", "classes"]


def test_a_model_is_measured_kernel_by_kernel(keras):
    found = measure_model(set_kernels(prepared(keras), halved))
    assert list(found) == KERNELS
    assert all(item.sparsity == pytest.approx(0.5, abs=0.02) for item in found.values())


def test_nested_models_are_entered(build, keras):
    assert list(measure_model(build("nested", keras))) == ["stem", "spatial", "hidden", "classes"]


def test_recurrent_kernels_are_measured_apart(keras):
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.LSTM(2, name="memory")])
    assert [name.split("/")[-1] for name in measure_model(model)] == ["kernel", "recurrent_kernel"]


@pytest.mark.heavy
def test_the_file_keeps_zeros_and_clusters_by_the_layers_names(keras):
    samples = np.random.default_rng(0).normal(size=(4, 12, 12, 3)).astype("float32")
    model = set_kernels(prepared(keras), few_values)
    before = measure_model(model)
    assert all(item.sparse and item.clustered for item in before.values())
    after = measure_file(edgeopt.convert(model, calibration=samples).model, before)
    assert after["conv"].per_channel and set(check_kept(before, after).checked) == set(KERNELS)
    with pytest.raises(PropertyLostError, match=r"has 0 zeros of 216 in 'conv'"):
        check_kept(before, measure_model(set_kernels(model, lambda values: values)))


@pytest.mark.heavy
def test_float_half_and_dynamic_files_are_measured_too():
    import keras

    model = set_kernels(prepared(keras), halved)
    before = measure_model(model)
    for quantize in ("float32", "float16", "dynamic"):
        after = measure_file(edgeopt.convert(model, quantize=quantize).model, before)
        assert set(check_kept(before, after).checked) == set(KERNELS), quantize


def test_a_sparse_tensor_counts_the_zeros_that_it_does_not_store():
    from edgeopt.passes.properties import _of_file

    found = _of_file(FileKernel(("w",), 10, (np.array([1, 2, 2], np.int8),), (), False, 7))
    assert (found.zeros, found.clusters, found.sparsity) == (7, 3, 0.7)


def prop(zeros=50, clusters=80, channel_clusters=10, per_channel=False):
    return WeightProperty(100, zeros, clusters, channel_clusters, per_channel)


def test_lost_zeros_are_an_error_that_names_the_kernel():
    with pytest.raises(PropertyLostError, match=r"has 49 zeros of 100 in 'conv', the pruned model had 50"):
        check_kept({"conv": prop()}, {"conv": prop(zeros=49)})


def test_lost_clusters_are_an_error():
    clustered = prop(zeros=0, clusters=16, channel_clusters=12)
    with pytest.raises(PropertyLostError, match=r"has 17 distinct values in 'conv', the clustered model had 16"):
        check_kept({"conv": clustered}, {"conv": prop(zeros=0, clusters=17, channel_clusters=12)})
    with pytest.raises(PropertyLostError, match=r"13 distinct values in a channel of 'conv'"):
        check_kept({"conv": clustered}, {"conv": prop(0, clusters=90, channel_clusters=13, per_channel=True)})


def test_with_one_scale_a_channel_the_values_of_a_channel_count():
    clustered = prop(zeros=0, clusters=16, channel_clusters=12)
    after = prop(zeros=0, clusters=90, channel_clusters=12, per_channel=True)
    assert check_kept({"conv": clustered}, {"conv": after}).checked == ("conv",)


def test_what_has_no_property_cannot_lose_it_and_what_is_missing_is_told():
    plain = prop(zeros=3, clusters=97)
    assert check_kept({"a": plain, "b": prop()}, {"a": prop(0)}).unmatched == ("b",)


def test_a_file_that_is_none_is_refused():
    with pytest.raises(FileFormatError, match=r"expected a .tflite file"):
        measure_file(b"PK\x03\x04 not a model")
