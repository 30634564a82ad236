"""`edgeopt.flatbuffer.totals`: histogram, parameters, compressed size."""

from __future__ import annotations

import gzip

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeopt.flatbuffer import load_model, read_model
from edgeopt.flatbuffer.totals import expanded_constants, gzip_bytes, op_histogram, parameters


def test_operators_are_counted_over_all_subgraphs_most_frequent_first(file):
    body = file.subgraph("body")
    for name, graph in (("CONV_2D", 0), ("ABS", 0), ("my-op", 0), ("CONV_2D", body)):
        file.operator(name, [], [], graph=graph)
    assert list(op_histogram(read_model(file.build())).items()) == [("CONV_2D", 2), ("ABS", 1), ("my-op", 1)]


def test_parameters_are_weights_and_biases(small_file):
    # 4 * 3 * 3 * 2 kernel + 4 bias + 3 * 16 dense; the 2 numbers of RESHAPE's shape are none.
    assert parameters(read_model(small_file)) == 72 + 4 + 48


def test_parameters_that_share_a_buffer_or_that_nobody_reads(file):
    shared = file.tensor([10], "float32", data=np.ones(10, np.float32))
    twin = file.tensor([10], "float32")
    file.model.subgraphs[0].tensors[twin].buffer = file.model.subgraphs[0].tensors[shared].buffer
    file.tensor([99], "float32", data=np.ones(99, np.float32))
    file.operator("ADD", [shared, twin], [file.tensor([10], "float32")])
    assert parameters(read_model(file.build())) == 10


def test_the_first_values_of_variables_are_no_parameters(file):
    first = file.tensor([10], "float32", data=np.zeros(10, np.float32))
    file.operator("ASSIGN_VARIABLE", [file.tensor([], "resource"), first], [])
    assert parameters(read_model(file.build())) == 0


def test_sparse_parameters_count_at_their_dense_size(file):
    x = file.tensor([4, 4], "float32", data=bytes(12), sparsity=schema.SparsityParametersT())
    file.operator("DENSIFY", [x], [file.tensor([4, 4], "float32")])
    assert parameters(read_model(file.build())) == 16


def test_parameters_of_a_real_file(shared_data):
    # The published DS-CNN of MLPerf Tiny has 24.9 k with batch normalisation, which conversion folds away:
    # 64*40+64, 4 times (64*9+64 + 64*64+64), and 64*12+12.
    assert parameters(load_model(shared_data / "kws/ref_int8.tflite")) == 2624 + 4 * (640 + 4160) + 780


def test_constants_that_are_expanded_once(file):
    packed = file.tensor([4], "float16", data=np.zeros(4, np.float16), sparsity=schema.SparsityParametersT())
    dense, real, x, y = (file.tensor([4], kind) for kind in ("float16", "float32", "int8", "float32"))
    file.operator("DENSIFY", [packed], [dense])
    file.operator("DEQUANTIZE", [dense], [real])
    file.operator("DEQUANTIZE", [x], [y])
    assert expanded_constants(read_model(file.build()).main) == {dense, real}


def test_the_compressed_size_is_that_of_gzip_9_without_time_stamp():
    data = bytes(range(256)) * 100
    assert gzip_bytes(data) == len(gzip.compress(data, 9, mtime=0)) < len(data)
    assert gzip_bytes(data) < len(gzip.compress(data, 0))
