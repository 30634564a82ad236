"""Stored parameter bytes: the layout rules one by one, and whether they fit on the chip."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.converters.edgetpu.context import OpContext
from edgeopt.converters.edgetpu.parameters import fit, split_pieces, stored_bytes
from edgeopt.converters.edgetpu.rules import Memory, default_rules
from edgeopt.flatbuffer import read_model


def stored(data: bytes, index: int = -1) -> int:
    graph = read_model(data).main
    return stored_bytes(OpContext(graph, graph.operators[index]))


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        # (out, height, width, in): outputs padded to 16 up to 64 and to 64 beyond, inputs to 4, 4 bytes an output.
        ((8, 3, 3, 3), 16 * (9 * 4 + 4)),
        ((64, 1, 1, 32), 64 * (32 + 4)),
        ((80, 1, 1, 288), 128 * (288 + 4)),  # read off deeplabv3_mnv2_dm05: 37,376
        ((72, 1, 1, 12), 128 * (12 + 4)),
    ],
)
def test_convolutions_with_one_scale(graph, kernel, expected):
    x = graph.input((1, 8, 8, kernel[3]))
    assert stored(graph.build(graph.conv(x, (1, 8, 8, kernel[0]), kernel))) == expected


def test_convolutions_with_a_scale_a_channel_store_it(graph):
    x = graph.input((1, 8, 8, 4))
    weights = graph.constant(np.ones((16, 1, 1, 4)), "int8", scales=[0.1] * 16)
    y = graph.op("CONV_2D", [x, weights, -1], (1, 8, 8, 16), options="Conv2DOptions")
    assert stored(graph.build(y)) == 16 * (4 + 8)


def test_depthwise_convolutions_take_four_bytes_a_weight(graph):
    x = graph.input((1, 8, 8, 128))
    weights = graph.constant(np.ones((1, 3, 3, 128)), "int8")
    y = graph.op("DEPTHWISE_CONV_2D", [x, weights, -1], (1, 8, 8, 128), options="DepthwiseConv2DOptions")
    assert stored(graph.build(y)) == 128 * (9 * 4 + 4)


def test_dense_layers_with_a_scale_an_output_take_8_bytes_each(graph):
    # The notes of LibrEdgeTPU: Dense 256 -> 256 is stored in 66.00 KiB.
    x = graph.input((1, 256))
    weights = graph.constant(np.ones((256, 256)), "int8", scales=[0.1] * 256)
    y = graph.op("FULLY_CONNECTED", [x, weights, -1], (1, 256), options="FullyConnectedOptions")
    assert stored(graph.build(y)) == 66 * 1024


def test_a_split_picks_pieces_that_do_not_start_on_a_multiple_of_4(graph):
    x = graph.input((1, 8, 8, 12))
    outputs = [graph.tensor((1, 8, 8, 2)) for _ in range(6)]
    graph.file.operator("SPLIT", [graph.constant(3), x], outputs, options="SplitOptions", numSplits=6)
    joined = graph.op("CONCATENATION", [outputs[3], outputs[5]], (1, 8, 8, 4), options="ConcatenationOptions", axis=3)
    main = read_model(graph.build(*outputs[:3], joined)).main
    # Pieces start at 0, 2, 4, ...: those at 2, 6 and 10 are loose; the last two are joined by the concatenation.
    pieces = split_pieces(main)
    assert (sorted(pieces.alone), sorted(pieces.joined)) == ([outputs[1]], [outputs[3], outputs[5]])
    assert [stored_bytes(OpContext(main, operator), pieces) for operator in main.operators] == [64, 64]


def test_operators_without_parameters_store_nothing(graph):
    x = graph.input((1, 8, 8, 4))
    assert stored(graph.build(graph.op("ADD", [x, x], (1, 8, 8, 4)))) == 0


def test_a_constant_factor_is_stored(graph):
    x = graph.input((1, 8, 8, 4))
    y = graph.op("MUL", [x, graph.constant(np.ones((8, 8, 4)), "int8")], (1, 8, 8, 4))
    assert stored(graph.build(y)) == 256


def two_layers(graph):
    x = graph.input((1, 1, 1, 64))
    first = graph.conv(x, (1, 1, 1, 64), (64, 1, 1, 64))
    second = graph.conv(first, (1, 1, 1, 128), (128, 1, 1, 64))
    return read_model(graph.build(second))


FIRST, SECOND = 64 * 68, 128 * 68


def test_all_is_cached_while_there_is_room(graph):
    found = fit(two_layers(graph), {0, 1}, Memory(FIRST + SECOND, 10**9, ""))
    assert (found.cached_bytes, found.streamed_bytes) == (FIRST + SECOND, 0)
    assert found.advice() == ""


def test_a_layer_that_finds_too_little_room_is_streamed_whole(graph):
    found = fit(two_layers(graph), {0, 1}, Memory(FIRST + SECOND - 1, 10**9, ""))
    assert (found.cached_bytes, found.streamed_bytes) == (FIRST, SECOND)
    # f = 1 - sqrt(capacity / stored): one byte too much takes the smallest whole per cent.
    assert "remove about 1 % of the channels" in found.advice()
    assert "operator 1 (CONV_2D" in found.advice()


def test_a_layer_larger_than_the_chip_does_not_keep_the_next_from_being_cached(graph):
    x = graph.input((1, 1, 1, 64))
    big = graph.conv(x, (1, 1, 1, 128), (128, 1, 1, 64))
    small = graph.conv(big, (1, 1, 1, 64), (64, 1, 1, 128))
    found = fit(read_model(graph.build(small)), {0, 1}, Memory(64 * 132, 10**9, ""))
    assert [layer.cached for layer in found.layers] == [False, True]


def test_the_channel_fraction_follows_from_the_square(graph):
    found = fit(two_layers(graph), {0, 1}, Memory((FIRST + SECOND) // 4, 10**9, ""))
    assert "remove about 50 % of the channels" in found.advice()


def test_operators_on_the_cpu_take_no_room(graph):
    assert fit(two_layers(graph), {1}, default_rules().memory).cached_bytes == SECOND


def test_between_what_fits_and_what_does_not_it_is_doubtful(graph):
    assert fit(two_layers(graph), {0, 1}, Memory(FIRST + SECOND, FIRST, "")).doubtful
    assert not fit(two_layers(graph), {0, 1}, Memory(FIRST + SECOND, FIRST + SECOND, "")).doubtful
