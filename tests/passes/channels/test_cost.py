"""The cost that the search goes by is the cost of the model that comes out."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from edgeopt.errors import UsageError
from edgeopt.flatbuffer.macs import macs
from edgeopt.flatbuffer.reader import read_model
from edgeopt.models.graph.rebuild import read_native
from edgeopt.passes.channels import ChannelPruning
from edgeopt.passes.channels.cost import CostModel
from edgeopt.passes.channels.dependencies import analyse
from edgeopt.training.context import PassContext


def costs_of(model, measure):
    return CostModel(analyse(read_native(model)), (), measure).total


def test_macs_by_hand(keras):
    layers, inputs = keras.layers, keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(16, 3, name="conv")(inputs)  # 6*6 positions, 3*3*3 products, 16 filters
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, name="deep")(x)  # 3*3, 3*3, 32
    x = layers.Conv2DTranspose(8, 2, strides=2, name="up")(x)  # 3*3 inputs, 2*2*32, 8
    x = layers.SeparableConv2D(4, 3, padding="same", name="sep")(x)  # 6*6, 9*8 + 8*4
    x = layers.Conv2D(8, 1, groups=2, name="grouped")(x)  # 6*6, 2, 8
    x = layers.Dense(5, name="rows")(x)  # 6*6, 8, 5
    model = keras.Model(inputs, layers.Dense(2, name="out")(layers.Flatten(name="flat")(x)))  # 180, 2
    expected = [36 * 27 * 16, 9 * 9 * 32, 9 * 4 * 32 * 8, 36 * (72 + 32), 36 * 2 * 8, 36 * 40, 360]
    assert costs_of(model, "macs") == sum(expected)


def test_params_are_those_of_keras_before_and_after(keras, build):
    for family in ("u_net", "squeeze_excite", "cnn_1d"):
        model = build(family, keras)
        result = ChannelPruning(fraction=0.4, of="params").apply(model, PassContext())
        assert result.report.costs["params"] == (model.count_params(), result.model.count_params())


@pytest.mark.parametrize("family", ["cnn_1d", "u_net", "two_inputs", "nested", "squeeze_excite", "grouped"])
def test_the_predicted_cost_of_a_cut_is_the_cost_of_the_cut_model(build, keras, family):
    result = ChannelPruning(fraction=0.3, importance="random").apply(build(family, keras), PassContext())
    for measure in ("macs", "params", "bytes"):
        assert result.report.costs[measure][1] == costs_of(result.model, measure)


def to_tflite(model, *, int8=False):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if int8:
        generator = np.random.default_rng(0)
        shapes = [(1, *tensor.shape[1:]) for tensor in model.inputs]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [generator.normal(size=shape).astype("float32") for shape in shapes] for _ in range(4)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


@pytest.mark.heavy
@pytest.mark.parametrize("family", ["cnn_1d", "u_net", "squeeze_excite"])
def test_macs_are_those_of_the_converted_file(build, family):
    model = build(family, importlib.import_module("tf_keras"))
    assert costs_of(model, "macs") == macs(read_model(to_tflite(model)))


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning")
def test_bytes_saved_are_those_that_the_int8_file_loses(build):
    """The rest of the file (graph, names, padding of buffers to 16 bytes) is nearly the same in both: within 3 %."""
    model = build("u_net", importlib.import_module("tf_keras"))
    result = ChannelPruning(fraction=0.5, of="bytes").apply(model, PassContext())
    before, after = result.report.costs["bytes"]
    saved = len(to_tflite(model, int8=True)) - len(to_tflite(result.model, int8=True))
    assert saved == pytest.approx(before - after, rel=0.03)


def test_macs_of_an_open_input_are_refused_and_parameters_are_not(keras):
    layers, inputs = keras.layers, keras.Input((None, None, 3), name="image")
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(16, 3, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="out")(x))
    with pytest.raises(UsageError, match=r"The MACs of layer 'conv' cannot be counted.* of='params'"):
        ChannelPruning(fraction=0.5).apply(model, PassContext())
    report = ChannelPruning(fraction=0.4, of="params").apply(model, PassContext()).report
    assert set(report.costs) == {"params", "bytes"}
    assert report.removed("params") >= 0.4
