"""The layers of a profile's rows, by the names that the runtime and XNNPACK give to operators."""

from __future__ import annotations

import pytest

from edgeopt.flatbuffer import read_file, read_model
from edgeopt.flatbuffer.profiled import profiled_layers


@pytest.fixture
def keywords(shared_data):
    return read_model(read_file(shared_data / "kws/ref_int8.tflite"))


def rows():
    """What LiteRT's profiler says of the keyword model: XNNPACK runs 1x1 convolutions as fully connected layers."""
    by_xnnpack = ["Convolution (NHWC, QC8) IGEMM"]
    by_xnnpack += 4 * ["Convolution (NHWC, QC8) DWConv", "Fully Connected (NC, QS8, QC8W) GEMM"]
    found = [{"op": name, "by": "delegate", "index": place} for place, name in enumerate(by_xnnpack)]
    found.append({"op": "AVERAGE_POOL_2D", "by": "builtin", "index": 9})
    found.append({"op": "Fully Connected (NC, QS8, QC8W) GEMM", "by": "delegate", "index": 1})
    return [*found, {"op": "Clamp (NC)", "by": "delegate", "index": 2}]


def test_each_operator_with_weights_has_its_layer(keywords):
    layers = profiled_layers(keywords, rows())
    blocks = [["conv2d", "depthwise_conv2d"], ["conv2d_1", "depthwise_conv2d_1"], ["conv2d_2", "depthwise_conv2d_2"]]
    assert layers[:6] == [name for block in blocks for name in block]
    assert layers[9:] == ["average_pooling2d", "dense", None]


def test_where_the_counts_differ_nothing_is_said_of_the_delegate(keywords):
    layers = profiled_layers(keywords, rows()[1:])
    assert set(layers) == {None, "average_pooling2d"}
