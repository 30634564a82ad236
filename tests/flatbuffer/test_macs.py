"""`edgeopt.flatbuffer.macs`: each formula against a count by hand, and whole files against published numbers."""

from __future__ import annotations

import pytest

from edgeopt.flatbuffer import load_model, read_model
from edgeopt.flatbuffer.macs import macs, operator_macs, unknown_macs


def count(file, name, input_shapes, output_shape, **fields):
    """Return the MACs of one operator; an input shape of None stands for an absent input."""
    inputs = [-1 if shape is None else file.tensor(shape) for shape in input_shapes]
    output = file.tensor(output_shape)
    file.operator(name, inputs, [output], **fields)
    graph = read_model(file.build([], [output])).main
    return operator_macs(graph, graph.operators[0])


@pytest.mark.parametrize(
    ("name", "inputs", "output", "expected"),
    [
        # 3x3 kernel over 8 input channels, for each of 5 * 6 * 16 outputs.
        ("CONV_2D", [[1, 5, 6, 8], [16, 3, 3, 8], [16]], [1, 5, 6, 16], 5 * 6 * 16 * 9 * 8),
        # Two groups: each output sees 4 of the 8 channels, as the filter's shape says.
        ("CONV_2D", [[1, 5, 6, 8], [16, 3, 3, 4]], [1, 5, 6, 16], 5 * 6 * 16 * 9 * 4),
        ("CONV_3D", [[1, 4, 5, 6, 2], [3, 3, 2, 2, 7]], [1, 4, 5, 6, 7], 4 * 5 * 6 * 7 * 18 * 2),
        ("DEPTHWISE_CONV_2D", [[1, 5, 6, 8], [1, 3, 2, 16], [16]], [1, 5, 6, 16], 5 * 6 * 16 * 6),
        # Each of 4 * 4 * 8 inputs is spread over a 2x2 kernel into 3 channels.
        ("TRANSPOSE_CONV", [[4], [3, 2, 2, 8], [1, 4, 4, 8]], [1, 8, 8, 3], 4 * 4 * 8 * 4 * 3),
        ("CONV_3D_TRANSPOSE", [[5], [2, 2, 2, 3, 8], [1, 4, 4, 4, 8]], [1, 8, 8, 8, 3], 4**3 * 8 * 8 * 3),
        ("FULLY_CONNECTED", [[2, 10], [7, 10], None], [2, 7], 2 * 7 * 10),
        ("FULLY_CONNECTED", [[2, 3, 10], [7, 10]], [2, 3, 7], 2 * 3 * 7 * 10),
        ("BATCH_MATMUL", [[4, 5, 6], [4, 6, 7]], [4, 5, 7], 4 * 5 * 7 * 6),
        ("RNN", [[3, 10], [4, 10], [4, 4], [4]], [3, 4], 3 * (40 + 16)),
        ("UNIDIRECTIONAL_SEQUENCE_RNN", [[3, 5, 10], [4, 10], [4, 4], [4]], [3, 5, 4], 15 * (40 + 16)),
        ("SVDF", [[3, 10], [8, 10], [8, 6], None], [3, 4], 3 * (80 + 48)),
        ("MAX_POOL_2D", [[1, 8, 8, 4]], [1, 4, 4, 4], 0),
        ("ADD", [[1, 8], [1, 8]], [1, 8], 0),
    ],
)
def test_the_count_is_that_of_the_definition(file, name, inputs, output, expected):
    assert count(file, name, inputs, output) == expected


def test_a_transposed_operand_moves_the_contracted_axis(file):
    fields = {"options": "BatchMatMulOptions", "adjX": True}
    assert count(file, "BATCH_MATMUL", [[6, 5], [6, 7]], [5, 7], **fields) == 5 * 7 * 6


def test_an_lstm_uses_every_weight_once_per_sample_and_step(file):
    gates = [[20, 10]] * 4 + [[20, 8]] * 4
    rest = [[20]] * 3 + [[20]] * 4 + [[8, 20], None]  # peepholes, biases, projection
    inputs = [[2, 5, 10], *gates, *rest]
    expected = 2 * 5 * (4 * 20 * 10 + 4 * 20 * 8 + 8 * 20)
    assert count(file, "UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [2, 5, 8]) == expected


def test_an_lstm_with_coupled_gates_lacks_two_matrices(file):
    gates = [None, *[[20, 10]] * 3, None, *[[20, 20]] * 3]
    assert count(file, "UNIDIRECTIONAL_SEQUENCE_LSTM", [[1, 5, 10], *gates], [1, 5, 20]) == 5 * 3 * (200 + 400)


def test_both_directions_of_an_lstm_count(file):
    forward = [[20, 10]] * 4 + [[20, 20]] * 4 + [None] * 9
    backward = [[20, 10]] * 4 + [[20, 20]] * 4 + [None] * 9
    expected = 2 * 3 * 4 * (200 + 400)
    assert count(file, "BIDIRECTIONAL_SEQUENCE_LSTM", [[1, 3, 10], *forward, *backward], [1, 3, 40]) == expected


def test_the_one_step_lstm_keeps_its_gates_in_one_matrix(file):
    inputs = [[2, 10], [2, 20], [80, 30], [80], [2, 20]]
    assert count(file, "LSTM", inputs, [2, 20], options="LSTMOptions", kernelType=1) == 2 * 80 * 30


def test_what_the_file_does_not_tell_is_unknown_and_named(file):
    assert count(file, "edgetpu-custom-op", [[1, 8]], [1, 8]) is None
    file.operator("CONV_2D", [0, 1], [1])  # a filter of rank 2
    model = read_model(file.build())
    assert unknown_macs(model) == ("CONV_2D", "edgetpu-custom-op")
    assert macs(model) == 0


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        # MLPerf Tiny's image classifier and keyword spotter: convolutions and dense layers only.
        ("cifar10/mlperf_resnet8_int8.tflite", 12.50),
        ("kws/ref_int8.tflite", 2.66),
        # Table 8 of the MobileNet paper gives 14 for 0.25/128; torchvision counts 300.8 for MobileNetV2.
        ("coral/mobilenet_v1_0.25_128_quant.tflite", 13.57),
        ("coral/tf2_mobilenet_v2_1.0_224_ptq.tflite", 300.78),
    ],
)
def test_whole_files_have_the_published_count(shared_data, name, millions):
    assert round(macs(load_model(shared_data / name)) / 1e6, 2) == millions


def test_a_loop_counts_one_round_and_a_branch_its_dearer_side(file):
    cheap, dear = file.subgraph("cheap"), file.subgraph("dear")
    for graph, features in ((cheap, 2), (dear, 8)):
        x = file.tensor([1, features], graph=graph)
        weights = file.tensor([4, features], graph=graph)
        y = file.tensor([1, 4], graph=graph)
        file.operator("FULLY_CONNECTED", [x, weights], [y], graph=graph)
    x = file.tensor([1, 8])
    file.operator("WHILE", [x], [x], options="WhileOptions", condSubgraphIndex=cheap, bodySubgraphIndex=dear)
    assert macs(read_model(file.build([x], [x]))) == 8 + 32
    file.operator("IF", [x], [x], options="IfOptions", thenSubgraphIndex=cheap, elseSubgraphIndex=dear)
    assert macs(read_model(file.build([x], [x]))) == 8 + 32 + 32
    file.operator("CALL_ONCE", [], [], options="CallOnceOptions", initSubgraphIndex=dear)
    assert macs(read_model(file.build([x], [x]))) == 8 + 32 + 32
