"""Each rule on operators, by a small graph that breaks it and its neighbour that does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeopt.converters.edgetpu.predict import EdgeTpuPredictor
from edgeopt.flatbuffer import read_model


def verdict(data: bytes, index: int = -1, **options: Any) -> tuple[str, str | None]:
    """Verdict and rule of one operator."""
    found = EdgeTpuPredictor(**options).predict(read_model(data)).operators[index]
    return found.verdict, found.rule


def after_conv(graph: Any, shape: tuple[int, ...]) -> int:
    """A mapped convolution, so that the file as a whole is not refused."""
    x = graph.input((1, 8, 8, 4))
    first = graph.conv(x, (1, 8, 8, 4), (4, 1, 1, 4))
    return first if shape == (1, 8, 8, 4) else graph.op("RESHAPE", [first, graph.constant(shape)], shape)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("RELU", ("mapped", None)),
        ("LOGISTIC", ("mapped", None)),
        ("TANH", ("mapped", None)),
        ("L2_NORMALIZATION", ("mapped", None)),
        ("RSQRT", ("mapped", None)),
        ("HARD_SWISH", ("cpu", "hard-swish")),
        ("LEAKY_RELU", ("cpu", "leaky-relu")),
        ("ELU", ("cpu", "elu")),
        ("EXP", ("cpu", "unsupported")),
        ("FLOOR", ("cpu", "unsupported")),
        ("DEPTH_TO_SPACE", ("unsure", "undocumented")),
        ("MyOwnOp", ("cpu", "unsupported")),
    ],
)
def test_what_is_supported_at_all(graph, op, expected):
    y = graph.op(op, [after_conv(graph, (1, 8, 8, 4))], (1, 8, 8, 4))
    assert verdict(graph.build(y)) == expected


def test_a_type_other_than_8_bits_stays_on_the_cpu(graph):
    y = graph.op("DEQUANTIZE", [after_conv(graph, (1, 8, 8, 4))], (1, 8, 8, 4), "float32")
    assert verdict(graph.build(y)) == ("cpu", "data-type")


def test_8_bits_without_a_scale_stay_on_the_cpu(graph):
    y = graph.tensor((1, 8, 8, 4), "int8", scales=[])
    graph.file.operator("RELU", [after_conv(graph, (1, 8, 8, 4))], [y])
    assert verdict(graph.build(y)) == ("cpu", "no-scale")


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 2, 8, 16), "mapped"), ((2, 8, 4, 4), "cpu"), ((16, 16), "mapped")]
)
def test_only_three_dimensions_may_exceed_1(graph, shape, expected):
    y = graph.op("RELU", [after_conv(graph, shape)], shape)
    assert verdict(graph.build(y))[0] == expected


def test_an_older_runtime_supports_less(graph):
    y = graph.op("RSQRT", [after_conv(graph, (1, 8, 8, 4))], (1, 8, 8, 4))
    data = graph.build(y)
    assert verdict(data, minimum_runtime=14) == ("mapped", None)
    assert verdict(data, minimum_runtime=13) == ("cpu", "runtime")


@pytest.mark.parametrize(
    ("x", "y", "expected"), [(2, 2, ("mapped", None)), (1, 1, ("mapped", None)), (1, 2, ("cpu", "dilation"))]
)
def test_dilations_must_be_equal(graph, x, y, expected):
    first = after_conv(graph, (1, 8, 8, 4))
    out = graph.conv(first, (1, 8, 8, 4), (4, 3, 3, 4), dilationWFactor=x, dilationHFactor=y)
    assert verdict(graph.build(out)) == expected


def test_a_grouped_convolution_is_doubtful(graph):
    out = graph.conv(after_conv(graph, (1, 8, 8, 4)), (1, 8, 8, 4), (4, 3, 3, 2))
    assert verdict(graph.build(out)) == ("unsure", "grouped-convolution")


def test_weights_must_be_constants(graph):
    first = after_conv(graph, (1, 8, 8, 4))
    weights, bias = graph.input((1, 1, 1, 4)), graph.constant(np.zeros(1))
    out = graph.op("CONV_2D", [first, weights, bias], (1, 8, 8, 1), options="Conv2DOptions", dilationWFactor=1)
    assert verdict(graph.build(out)) == ("cpu", "weights-constant")


@pytest.mark.parametrize(("activation", "expected"), [(0, ("mapped", None)), (3, ("cpu", "fused-activation"))])
@pytest.mark.parametrize("op", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pools_must_not_have_a_fused_activation(graph, op, activation, expected):
    first = after_conv(graph, (1, 8, 8, 4))
    out = graph.op(op, [first], (1, 4, 4, 4), options="Pool2DOptions", fusedActivationFunction=activation)
    assert verdict(graph.build(out)) == expected


@pytest.mark.parametrize(
    ("constants", "value", "expected"),
    [
        (0, 0, ("mapped", None)),
        (1, 0, ("mapped", None)),
        (1, 3, ("cpu", "concatenate-constant")),
        (2, 0, ("cpu", "concatenate-constant")),
    ],
)
def test_a_concatenated_constant_must_be_one_block_of_zeros(graph, constants, value, expected):
    first = after_conv(graph, (1, 8, 8, 4))
    others = [graph.constant(np.full((1, 8, 8, 4), value), "int8") for _ in range(constants)] or [first]
    shape = (1, 8, 8, 4 * (1 + len(others)))
    out = graph.op("CONCATENATION", [first, *others], shape, options="ConcatenationOptions", axis=3)
    assert verdict(graph.build(out)) == expected


def dense(graph: Any, rows: int = 1, scales: int = 1, **options: Any) -> bytes:
    first = after_conv(graph, (rows, 256 // rows))
    values = np.ones((3, 256 // rows), np.int8)
    weights = graph.constant(values, "int8", scales=[0.1] * scales)
    fields = {"options": "FullyConnectedOptions", **options}
    return graph.build(graph.op("FULLY_CONNECTED", [first, weights, -1], (rows, 3), **fields))


def test_dense_layers_are_one_dimensional_and_per_tensor(graph):
    assert verdict(dense(graph)) == ("mapped", None)


def test_a_dense_layer_at_many_positions_stays(graph):
    assert verdict(dense(graph, rows=2)) == ("cpu", "dense-one-dimension")


def test_a_dense_layer_with_one_scale_an_output_is_doubtful(graph):
    assert verdict(dense(graph, scales=3)) == ("unsure", "dense-per-channel")


def test_shuffled_dense_weights_stay(graph):
    assert verdict(dense(graph, weightsFormat=1)) == ("cpu", "dense-format")


def mean(graph: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> bytes:
    x = graph.input(shape)
    kept = tuple(1 if axis in axes or axis - len(shape) in axes else size for axis, size in enumerate(shape))
    return graph.build(graph.op("MEAN", [x, graph.constant(axes)], kept, options="ReducerOptions", keepDims=True))


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((1, 7, 7, 1280), (1, 2), ("mapped", None)),
        ((1, 64, 128, 3), (1, 2), ("mapped", None)),  # the size that edgetpu#461 found to be mapped
        ((1, 256, 128, 3), (1, 2), ("cpu", "mean-large")),  # and the one that it found not to be
        ((1, 128, 128, 3), (1, 2), ("unsure", "mean-doubtful")),
        ((1, 4, 4, 8), (-1,), ("mapped", None)),
        ((1, 4, 4, 6), (-1,), ("cpu", "mean-depth")),
        ((1, 4, 4, 8), (0,), ("cpu", "mean-batch")),
    ],
)
def test_means(graph, shape, axes, expected):
    # The MEAN may be the only operator, which then refuses the file; the operator's own verdict stands all the same.
    assert verdict(mean(graph, shape, axes)) == expected


@pytest.mark.parametrize("op", ["SUM", "REDUCE_MAX", "REDUCE_MIN"])
def test_reductions_spare_the_batch(graph, op):
    first = after_conv(graph, (1, 8, 8, 4))
    good = graph.op(op, [first, graph.constant([1, 2])], (1, 1, 1, 4))
    bad = graph.op(op, [first, graph.constant([0])], (1, 8, 8, 4))
    data = graph.build(good, bad)
    assert verdict(data, -2) == ("mapped", None)
    assert verdict(data, -1) == ("cpu", "mean-batch")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((1, 33, 33, 19), (1, 33, 33, 19), ("mapped", None)),
        ((1, 64, 64, 32), (1, 128, 128, 32), ("mapped", None)),  # edgetpu#31
        ((1, 256, 256, 32), (1, 512, 512, 32), ("cpu", "resize-large")),  # edgetpu#31
        ((1, 1, 1, 256), (1, 33, 33, 256), ("cpu", "resize-factor")),
        ((1, 33, 33, 21), (1, 513, 513, 21), ("cpu", "resize-factor")),
        ((1, 8, 8, 4), (1, 64, 64, 4), ("unsure", "resize-doubtful")),
        ((1, 128, 128, 64), (1, 256, 256, 32), ("unsure", "resize-doubtful")),
        ((1, 64, 64, 8), (1, 32, 32, 8), ("mapped", None)),
    ],
)
@pytest.mark.parametrize("op", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
def test_resizes(graph, op, before, after, expected):
    x = graph.input(before)
    y = graph.op(op, [x, graph.constant(after[1:3])], after)
    assert verdict(graph.build(y)) == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 1001), ("mapped", None)),
        ((1, 16000), ("mapped", None)),
        ((1, 16001), ("cpu", "softmax-size")),
        ((1, 4, 4, 8), ("unsure", "softmax-one-dimension")),
    ],
)
def test_softmax(graph, shape, expected):
    assert verdict(graph.build(graph.op("SOFTMAX", [graph.input(shape)], shape))) == expected


@pytest.mark.parametrize(
    ("strides", "masks", "expected"),
    [
        ([1, 1, 1, 1], {}, ("mapped", None)),
        ([1, 2, 2, 1], {}, ("cpu", "strided-slice")),
        ([1, 1, 1, 1], {"ellipsisMask": 1}, ("cpu", "strided-slice")),
        ([1, 1, 1, 1], {"newAxisMask": 1}, ("cpu", "strided-slice")),
        ([2, 1, 1, 1], {}, ("mapped", None)),  # along a dimension of size 1 a stride does nothing
    ],
)
def test_slices_have_stride_1(graph, strides, masks, expected):
    first = after_conv(graph, (1, 8, 8, 4))
    bounds = [graph.constant([0, 0, 0, 0]), graph.constant([1, 4, 4, 4]), graph.constant(strides)]
    y = graph.op("STRIDED_SLICE", [first, *bounds], (1, 4, 4, 4), options="StridedSliceOptions", **masks)
    assert verdict(graph.build(y)) == expected


@pytest.mark.parametrize(
    ("order", "shape", "expected"),
    [
        ([0, 3, 1, 2], (1, 8, 8, 4), ("unsure", "transpose")),
        ([0, 1, 3, 2], (1, 64, 1, 4), ("mapped", None)),  # moves a dimension of size 1 only: no data moves
    ],
)
def test_a_transpose_that_moves_data_is_doubtful(graph, order, shape, expected):
    x = graph.input(shape)
    after = tuple(shape[axis] for axis in order)
    assert verdict(graph.build(graph.op("TRANSPOSE", [x, graph.constant(order)], after))) == expected


def test_padding_spares_the_batch(graph):
    first = after_conv(graph, (1, 8, 8, 4))
    good = graph.op("PAD", [first, graph.constant([[0, 0], [1, 1], [1, 1], [0, 2]])], (1, 10, 10, 6))
    bad = graph.op("PAD", [first, graph.constant([[0, 1], [0, 0], [0, 0], [0, 0]])], (2, 8, 8, 4))
    data = graph.build(good, bad)
    assert verdict(data, -2) == ("mapped", None)
    assert verdict(data, -1)[0] == "cpu"


def test_prelu_shares_its_slopes_between_pixels(graph):
    first = after_conv(graph, (1, 8, 8, 4))
    shared = graph.op("PRELU", [first, graph.constant(np.ones((1, 1, 4)), "int8")], (1, 8, 8, 4))
    own = graph.op("PRELU", [first, graph.constant(np.ones((8, 8, 4)), "int8")], (1, 8, 8, 4))
    data = graph.build(shared, own)
    assert verdict(data, -2) == ("mapped", None)
    assert verdict(data, -1) == ("cpu", "prelu-shared")


def test_large_reshapes_are_doubtful(graph):
    small = graph.op("RESHAPE", [graph.input((1, 40, 40, 810)), graph.constant([1, 14400, 90])], (1, 14400, 90))
    large = graph.op("RESHAPE", [graph.input((1, 80, 80, 810)), graph.constant([1, 57600, 90])], (1, 57600, 90))
    data = graph.build(small, large)
    assert verdict(data, -2) == ("mapped", None)
    assert verdict(data, -1) == ("unsure", "reshape-large")


def test_pack_and_split_spare_the_batch(graph):
    first = after_conv(graph, (1, 8, 8, 4))
    packed = graph.op("PACK", [first, first], (1, 2, 8, 8, 4), options="PackOptions", axis=1, valuesCount=2)
    data = graph.build(packed)
    assert verdict(data)[1] != "pack-batch"
    batch = graph.op(
        "PACK", [after_conv(graph, (16, 16))] * 2, (2, 16, 16), options="PackOptions", axis=0, valuesCount=2
    )
    assert verdict(graph.build(batch)) == ("cpu", "pack-batch")


def test_a_split_of_the_batch_stays(graph):
    first = after_conv(graph, (2, 8, 16))
    y = graph.op("SPLIT", [graph.constant(0), first], (1, 8, 16), options="SplitOptions", numSplits=2)
    assert verdict(graph.build(y)) == ("cpu", "split-batch")


def test_tile_spreads_a_point_only(graph):
    x = graph.input((1, 1, 1, 128))
    point = graph.op("TILE", [x, graph.constant([1, 33, 33, 1])], (1, 33, 33, 128))
    area = graph.op("TILE", [graph.input((1, 2, 2, 4)), graph.constant([1, 2, 2, 1])], (1, 4, 4, 4))
    data = graph.build(point, area)
    assert verdict(data, -2) == ("mapped", None)
    assert verdict(data, -1) == ("unsure", "tile-spatial")


def unet(graph: Any, size: int) -> bytes:
    """Four times down and up again; what each step down gave is joined to its step up."""
    x, sides = graph.input((1, size, size, 3)), []
    for depth in (16, 32, 64, 128):
        x = graph.conv(x, (1, size, size, depth), (depth, 1, 1, 3 if depth == 16 else depth // 2))
        sides.append((x, size, depth))
        size //= 2
        x = graph.op("MAX_POOL_2D", [x], (1, size, size, depth), options="Pool2DOptions", strideW=2, strideH=2)
    for side, size, depth in reversed(sides):
        kernel = graph.constant(np.ones((depth, 2, 2, depth if depth == 128 else 2 * depth)), "int8")
        shape = (1, size, size, depth)
        x = graph.op("TRANSPOSE_CONV", [graph.constant(shape), kernel, x], shape, options="TransposeConvOptions")
        x = graph.op("CONCATENATION", [x, side], (1, size, size, 2 * depth), options="ConcatenationOptions", axis=3)
        x = graph.conv(x, shape, (depth, 1, 1, 2 * depth))
    return graph.build(x)


def test_more_live_activations_than_the_chip_holds_are_doubtful(graph):
    """As the compiler failed on a U-Net of 512x512 (edgetpu#686)."""
    found = EdgeTpuPredictor().predict(read_model(unet(graph, 512)))
    doubted = {op.op for op in found.operators if op.rule == "large-activations"}
    assert {"TRANSPOSE_CONV", "CONCATENATION"} <= doubted
    assert found.cpu_ops == {} and found.operators[0].verdict == "mapped"
    (last,) = [op for op in found.operators if op.index == len(found.operators) - 2]
    # The side of 16 channels, what was enlarged, and both joined.
    assert last.why.startswith(f"{4 * 16 * 512 * 512:,} bytes of activations exist at once here")


def test_fewer_are_not(graph):
    assert EdgeTpuPredictor().predict(read_model(unet(graph, 256))).unsure_ops == {}
