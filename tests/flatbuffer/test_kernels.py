"""`edgeopt.flatbuffer.kernels`: the stored weights of a file, with zero as zero."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.kernels import FileKernel, assign, file_kernels, join_gates


def dense(file, values, dtype, **quantization):
    """Return the one kernel of a file that multiplies by `values`, (outputs, inputs)."""
    x, y = file.tensor([1, values.shape[1]], dtype, scales=[1]), file.tensor([1, len(values)], dtype, scales=[1])
    kernel = file.tensor(values.shape, dtype, name="dense/MatMul", data=values, **quantization)
    file.operator("FULLY_CONNECTED", [x, kernel, -1], [y], options="FullyConnectedOptions")
    (found,) = file_kernels(read_model(file.build([x], [y])))
    return found


def test_the_values_are_those_that_are_stored(file):
    values = np.array([[1, 0, -3], [127, -128, 0]], np.int8)
    found = dense(file, values, "int8", scales=[0.5])
    np.testing.assert_array_equal(found.parts, [values])
    assert (found.size, found.per_channel, found.unstored_zeros, found.channel_axes) == (6, False, 0, (0,))
    assert found.names[0] == "dense/MatMul" and "dense" in found.segments


def test_what_stands_for_zero_is_zero(file):
    """Unsigned files store zero as their zero point, and may do without a stored 0 at all."""
    values = np.array([[128, 0, 255], [100, 128, 128]], np.uint8)
    found = dense(file, values, "uint8", scales=[0.5], zero_points=[128])
    np.testing.assert_array_equal(found.parts, [[[0, -128, 127], [-28, 0, 0]]])


@pytest.mark.parametrize("axis", [0, 1])
def test_each_channel_has_a_zero_point_of_its_own(file, axis):
    values = np.array([[3, 5], [3, 5]], np.int8)
    found = dense(file, values, "int8", scales=[0.5, 0.5], zero_points=[3, 5], axis=axis)
    np.testing.assert_array_equal(found.parts, [[[0, 2], [-2, 0]] if axis == 0 else [[0, 0], [0, 0]]])
    assert found.per_channel


def names(data):
    return [kernel.names for kernel in file_kernels(read_model(data))]


@pytest.mark.parametrize("through", [(), ("DEQUANTIZE",), ("DENSIFY",), ("DENSIFY", "DEQUANTIZE")])
def test_a_kernel_is_found_behind_what_only_unpacks_it(file, through):
    x, weights = file.tensor([1, 3], "float32"), file.tensor([2, 3], "float16", name="w", data=np.ones(6, np.float16))
    last = weights
    for step in through:
        given, last = last, file.tensor([2, 3], "float16", name=f"unpacked{step}")
        file.operator(step, [given], [last])
    y = file.tensor([1, 2], "float32", name="y")
    file.operator("FULLY_CONNECTED", [x, last, -1], [y], options="FullyConnectedOptions")
    (found,) = file_kernels(read_model(file.build([x], [y])))
    assert found.names == ("w", "y")
    np.testing.assert_array_equal(found.parts, [np.ones((2, 3))])


def test_what_is_computed_or_an_index_or_a_vector_is_no_kernel(file):
    computed, y = file.tensor([2, 3], name="computed"), file.tensor([1, 2], name="y")
    index = file.tensor([2, 3], "int32", name="index", data=np.zeros(6, np.int32))
    vector = file.tensor([3], name="vector", data=np.ones(3, np.int8))
    for weights in (computed, index, vector):
        file.operator("FULLY_CONNECTED", [computed, weights, -1], [y], options="FullyConnectedOptions")
    file.operator("FULLY_CONNECTED", [computed], [y], options="FullyConnectedOptions")
    file.operator("ABS", [computed], [y])
    assert names(file.build([computed], [y])) == []


def test_a_kernel_that_is_used_twice_comes_once_with_both_outputs(file):
    weights = file.tensor([2, 2], name="w", data=np.ones(4, np.int8))
    x, first, second = (file.tensor([1, 2], name=name) for name in ("x", "first", "second"))
    file.operator("FULLY_CONNECTED", [x, weights, -1], [first], options="FullyConnectedOptions")
    file.operator("FULLY_CONNECTED", [first, weights, -1], [second], options="FullyConnectedOptions")
    assert names(file.build([x], [second])) == [("w", "first", "second")]


def test_the_first_tensor_of_a_file_may_be_a_kernel_and_calls_hold_some_too(file):
    weights = file.tensor([2, 2], name="w", data=np.ones(4, np.int8))
    x, y = file.tensor([1, 2], name="x"), file.tensor([1, 2], name="y")
    file.operator("FULLY_CONNECTED", [x, weights, -1], [y], options="FullyConnectedOptions")
    body = file.subgraph("body")
    inner = file.tensor([2, 2], name="inner", data=np.ones(4, np.int8), graph=body)
    state = file.tensor([1, 2], name="state", graph=body)
    file.operator("BATCH_MATMUL", [state, inner], [state], graph=body)
    assert names(file.build([x], [y])) == [("w", "y"), ("inner", "state")]


@pytest.mark.parametrize(
    ("op", "place", "axes"),
    [
        ("CONV_2D", 1, (0,)),
        ("CONV_3D", 1, (-1,)),
        ("DEPTHWISE_CONV_2D", 1, (-1,)),
        ("TRANSPOSE_CONV", 1, (0,)),
        ("EMBEDDING_LOOKUP", 1, ()),
        ("GATHER", 0, ()),
        ("BATCH_MATMUL", 0, ()),
    ],
)
def test_each_operator_has_its_kernel_and_its_channels_in_their_place(file, op, place, axes):
    weights, other = file.tensor([2, 2], name="w", data=np.ones(4, np.int8)), file.tensor([2, 2])
    file.operator(op, [weights, other] if place == 0 else [other, weights, -1], [other])
    (found,) = file_kernels(read_model(file.build([other], [other])))
    assert (found.names[0], found.channel_axes) == ("w", axes)


def lstm(file, constant=True):
    """A fused LSTM: one gate's kernel is left out, as the coupled form does, and so are the recurrent ones' names."""
    x, y = file.tensor([1, 2, 3], name="x"), file.tensor([1, 2, 4], name="y")
    data = {"data": np.ones(12, np.int8)} if constant else {}
    kernels = [-1, *(file.tensor([4, 3], name=f"k{gate}", scales=[0.5], **data) for gate in range(1, 4))]
    recurrent = [file.tensor([4, 4], name=f"r{gate}", data=np.zeros(16, np.int8), scales=[0.5]) for gate in range(4)]
    file.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", [x, *kernels, *recurrent], [y])
    return file_kernels(read_model(file.build([x], [y])))


def test_the_gates_of_a_fused_layer_are_one_kernel(file):
    kernel, recurrent = lstm(file)
    assert (kernel.names, kernel.size, len(kernel.parts)) == (("k1", "k2", "k3", "y"), 36, 3)
    assert (recurrent.names, recurrent.size) == (("r0", "r1", "r2", "r3", "y"), 64)
    assert kernel.channel_axes == recurrent.channel_axes == (0,) and not kernel.per_channel


def test_gates_that_are_computed_are_no_kernel(file):
    (recurrent,) = lstm(file, constant=False)
    assert recurrent.names[0] == "r0"


def test_a_sparse_kernel_is_a_vector_without_channels(file):
    x, y = file.tensor([1, 4], name="x"), file.tensor([1, 2], name="y")
    sparsity = schema.SparsityParametersT()
    kernel = file.tensor(
        [2, 4], name="w", data=np.array([3, 5, 7], np.int8), scales=[1, 1], zero_points=[3, 3], sparsity=sparsity
    )
    file.operator("FULLY_CONNECTED", [x, kernel, -1], [y], options="FullyConnectedOptions")
    (found,) = file_kernels(read_model(file.build([x], [y])))
    np.testing.assert_array_equal(found.parts, [[0, 2, 4]])
    assert (found.size, found.unstored_zeros, found.channel_axes, found.per_channel) == (8, 5, (), True)
    assert not found.hides_zero, "one is stored"


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "<f4"), ("float16", "<f2")])
def test_a_sparse_kernel_of_floats_is_read_as_floats(file, dtype, kind):
    x, y = file.tensor([1, 4], "float32"), file.tensor([1, 2], "float32")
    values = np.array([1.5, -2.0], kind)
    kernel = file.tensor([2, 4], dtype, data=values, sparsity=schema.SparsityParametersT())
    file.operator("FULLY_CONNECTED", [x, kernel, -1], [y], options="FullyConnectedOptions")
    (found,) = file_kernels(read_model(file.build([x], [y])))
    np.testing.assert_array_equal(found.parts, [values])
    assert found.hides_zero and found.unstored_zeros == 6


def kernel(*names, size=6):
    return FileKernel(tuple(names), size, (np.zeros(size, np.int8),), (), False, 0)


def test_names_go_to_the_kernels_that_fit_one_only_first():
    """The output of a fused addition carries the names of both branches."""
    kernels = [kernel("net/b/Conv2D;net/a/Conv2D"), kernel("net/b/Conv2D")]
    assert assign(kernels, {"a": 6, "b": 6}) == ["a", "b"]


def test_suffixes_and_wrapper_names_are_looked_through():
    kernels = [kernel("f_1/dense_1/MatMul"), kernel("f_1/other/MatMul"), kernel("f/quant_c/Conv2D", size=9)]
    assert assign(kernels, {"dense": 6, "c": 9})[2] == "c"
    assert assign(kernels[:1], {"dense": 6}) == ["dense"]


@pytest.mark.parametrize("number", ["", "_1"])
def test_a_numbered_call_and_a_numbered_layer_are_told_apart(number):
    layers = ["dense", "dense_1", "dense_2"]
    kernels = [kernel(f"net/{layer}{number}/MatMul") for layer in layers]
    assert assign(kernels, dict.fromkeys(layers, 6)) == layers


def test_the_operations_name_is_no_layers():
    """A separable convolution's first half is an operation called depthwise."""
    kernels = [kernel("net/separable/separable_conv2d/depthwise"), kernel("net/depthwise/depthwise")]
    assert assign(kernels, {"depthwise": 6, "separable/depthwise_kernel": 6}) == [
        "separable/depthwise_kernel",
        "depthwise",
    ]


def test_the_gates_of_an_unrolled_layer_are_one_kernel():
    gates = [kernel(f"net/memory_1/lstm_cell_1/MatMul_{number}") for number in range(4)]
    others = [kernel("net/memory_1/lstm_cell_1/MatMul_9", size=7), kernel("net/dense/MatMul")]
    joined = join_gates([*gates, *others], {"memory/kernel": 24, "memory/recurrent_kernel": 7, "dense": 6})
    assert [item.size for item in joined] == [24, 7, 6] and len(joined[0].parts) == 4
    assert join_gates([*gates, *gates], {"memory/kernel": 24}) == [*gates, *gates]


def test_what_no_name_tells_goes_by_size_and_order():
    kernels = [kernel("first"), kernel("second"), kernel("third", size=4)]
    assert assign(kernels, {"x": 6, "y": 6, "z": 5}) == ["x", "y", "third"]


def test_kernels_of_one_name_stay_apart():
    assert assign([kernel("same"), kernel("same")], {}) == ["same", "same#1"]
