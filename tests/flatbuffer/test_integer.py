"""`edgeopt.flatbuffer.integer`: what is not int8, what is not static, and how finely weights are scaled."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeopt.flatbuffer import load_model, read_model
from edgeopt.flatbuffer.integer import (
    DynamicTensor,
    FloatOperator,
    dynamic_dimensions,
    float_ops,
    float_tensors,
    fully_int8,
    granularity,
)


def test_an_int8_file_has_no_float_anywhere(small_file):
    model = read_model(small_file)
    assert float_tensors(model) == []
    assert float_ops(model) == []
    assert dynamic_dimensions(model) == []
    assert fully_int8(model)


def test_float_tensors_and_the_operators_on_them_are_named(file):
    x = file.tensor([4], name="x", scales=[0.5])
    real, result = file.tensor([4], "float32", name="real"), file.tensor([4], "float16", name="result")
    file.operator("ABS", [x], [x])
    file.operator("DEQUANTIZE", [x], [real])
    file.operator("CAST", [real], [result])
    model = read_model(file.build([x], [result]))
    assert float_tensors(model) == ["real", "result"]
    assert float_ops(model) == [
        FloatOperator(0, 1, "DEQUANTIZE", ("real",)),
        FloatOperator(0, 2, "CAST", ("real", "result")),
    ]
    assert str(float_ops(model)[1]) == "CAST (operator 2, tensors 'real', 'result')"
    assert float_ops(model)[1].to_dict() == {"subgraph": 0, "index": 2, "op": "CAST", "tensors": ["real", "result"]}
    assert not fully_int8(model)


def test_float_tensors_of_zero_elements_do_not_count(shared_data, file):
    x, empty = file.tensor([4]), file.tensor([0], "float32")
    file.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", [x, empty], [x])
    assert fully_int8(read_model(file.build([x], [x])))
    file.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", [x, file.tensor([1], "float32")], [x])
    assert not fully_int8(read_model(file.build([x], [x])))
    assert fully_int8(load_model(shared_data / "coral/keras_lstm_mnist_ptq.tflite"))


def test_float_inside_a_called_subgraph_counts(file):
    body = file.subgraph("body")
    file.tensor([4], "float32", name="inner", graph=body)
    assert float_tensors(read_model(file.build())) == ["inner"]


@pytest.mark.parametrize("types", [("int16", "int8"), ("int8", "int16")])
def test_one_sixteen_bit_end_is_enough_to_be_no_int8_file(file, types):
    x, y = (file.tensor([4], dtype, scales=[0.5]) for dtype in types)
    file.operator("QUANTIZE", [x], [y])
    assert not fully_int8(read_model(file.build([x], [y])))


def test_sixteen_bit_ends_are_no_int8_file_and_plain_indices_are(file):
    x, y = file.tensor([4], "int16", scales=[0.5]), file.tensor([1], "int64")
    file.operator("ARG_MAX", [x], [y])
    assert not fully_int8(read_model(file.build([x], [y])))
    file.model.subgraphs[0].tensors[x].type = schema.TensorType.INT8
    assert fully_int8(read_model(file.build([x], [y])))


def test_dynamic_dimensions_are_found_by_signature(file):
    file.tensor([1, 8], name="batch", shapeSignature=[-1, 8])
    file.tensor([1, 8], name="static", shapeSignature=[1, 8])
    found = dynamic_dimensions(read_model(file.build()))
    assert found == [DynamicTensor("batch", (-1, 8))]
    assert str(found[0]) == "'batch' (-1, 8)"


def test_unknown_ranks_are_found_where_the_file_states_ranks(file):
    file.tensor([], name="scalar")
    file.tensor([], name="unknown", hasRank=False)
    file.tensor([], "resource", name="handle", hasRank=False)
    file.tensor([], name="constant", hasRank=False, data=b"\1")
    found = dynamic_dimensions(read_model(file.build()))
    assert found == [DynamicTensor("unknown", None)]
    assert str(found[0]) == "'unknown' of unknown rank"


def test_scalars_that_the_quantiser_adds_without_a_rank_are_scalars(file):
    file.tensor([2], name="so that ranks are stated")
    constant = file.tensor([], "int16", name="constant", data=b"\1\0", scales=[0.5])
    requantized = file.tensor([], "int16", name="constant_requantized", scales=[0.25], hasRank=False)
    other = file.tensor([], "int16", name="other", scales=[0.25], hasRank=False)
    file.operator("QUANTIZE", [constant], [requantized])
    file.operator("QUANTIZE", [requantized], [other])
    assert [tensor.name for tensor in dynamic_dimensions(read_model(file.build()))] == ["other"]


def test_files_from_before_ranks_were_stated_have_scalars(file, shared_data):
    file.tensor([], name="scalar", hasRank=False)
    assert dynamic_dimensions(read_model(file.build())) == []
    assert dynamic_dimensions(load_model(shared_data / "coral/model_invoking_error.tflite")) == []


def test_a_real_file_converted_with_a_dynamic_batch(shared_data):
    found = dynamic_dimensions(load_model(shared_data / "kws/ref_int8.tflite"))
    assert DynamicTensor("input_1", (-1, 49, 10, 1)) in found


def weight(file, channels, scales):
    data = np.ones([channels, 1, 1, 4], np.int8)
    return file.tensor([channels, 1, 1, 4], data=data, scales=[0.1] * scales)


def test_granularity_is_counted_and_not_read_off_the_version(file):
    for version, scales in ((1, 6), (3, 6)):
        file.operator("CONV_2D", [0, weight(file, 6, scales)], [0], version=version)
    file.operator("FULLY_CONNECTED", [0, weight(file, 6, 1)], [0], version=12)
    assert granularity(read_model(file.build())) == {"CONV_2D": "per-channel", "FULLY_CONNECTED": "per-tensor"}


def test_one_operator_that_differs_makes_its_kind_mixed(file):
    for scales in (6, 1, 6):
        file.operator("CONV_2D", [0, weight(file, 6, scales)], [0])
    assert granularity(read_model(file.build())) == {"CONV_2D": "mixed"}


def test_a_single_channel_decides_only_when_alone(file):
    file.operator("CONV_2D", [0, weight(file, 1, 1)], [0])
    assert granularity(read_model(file.build())) == {"CONV_2D": "per-tensor"}
    file.operator("CONV_2D", [0, weight(file, 6, 6)], [0])
    assert granularity(read_model(file.build())) == {"CONV_2D": "per-channel"}


def test_biases_activations_and_float_weights_have_no_say(file):
    activation = file.tensor([6, 4], scales=[0.5])
    floating = file.tensor([6, 4], "float32", data=np.ones([6, 4], np.float32))
    bias = file.tensor([6], "int32", data=np.ones(6, np.int32), scales=[0.1] * 6)
    file.operator("FULLY_CONNECTED", [activation, floating, bias], [activation])
    file.operator("BATCH_MATMUL", [activation, activation], [activation])
    assert granularity(read_model(file.build())) == {}


def test_sparse_weights_are_seen_through_densify(file):
    dense = file.tensor([6, 1, 1, 4], scales=[0.1] * 6)
    file.operator("DENSIFY", [weight(file, 6, 6)], [dense])
    file.operator("CONV_2D", [0, dense], [0])
    assert granularity(read_model(file.build())) == {"CONV_2D": "per-channel"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("coral/mobilenet_v1_0.25_128_quant.tflite", {"CONV_2D": "per-tensor", "DEPTHWISE_CONV_2D": "per-tensor"}),
        (
            "kws/ref_int8.tflite",
            {"CONV_2D": "per-channel", "DEPTHWISE_CONV_2D": "per-channel", "FULLY_CONNECTED": "per-tensor"},
        ),
    ],
)
def test_granularity_of_real_files(shared_data, name, expected):
    assert granularity(load_model(shared_data / name)) == expected
