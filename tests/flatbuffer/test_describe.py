"""`edgeopt.flatbuffer.describe`: the rows that JSON and tables are made of."""

from __future__ import annotations

import math

import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeopt.flatbuffer import describe, read_model


def test_an_operator_row(small_file):
    row = describe.operator_rows(read_model(small_file))[0]
    options = row.pop("options")
    assert row == {
        "subgraph": 0,
        "index": 0,
        "op": "CONV_2D",
        "version": 3,
        "custom": False,
        "inputs": [
            {"tensor": 0, "dtype": "int8", "shape": [1, 4, 4, 2], "constant": False},
            {"tensor": 1, "dtype": "int8", "shape": [4, 3, 3, 2], "constant": True},
            {"tensor": 2, "dtype": "int32", "shape": [4], "constant": True},
        ],
        "outputs": [{"tensor": 3, "dtype": "int8", "shape": [1, 2, 2, 4], "constant": False}],
        "macs": 16 * 18,
        "weight_bytes": 72 + 16,
        "custom_options_bytes": 0,
    }
    assert options["padding"] == "VALID"


def test_an_absent_input_is_null(small_file):
    assert describe.operator_rows(read_model(small_file))[2]["inputs"][2] is None


def test_a_tensor_row_sums_up_its_scales(small_file):
    rows = describe.tensor_rows(read_model(small_file))
    assert {name: value for name, value in rows[1].items() if name != "quantization"} == {
        **{"subgraph": 0, "index": 1, "name": "kernel", "dtype": "int8", "constant": True},
        **{"shape": [4, 3, 3, 2], "signature": [4, 3, 3, 2]},
        **{"variable": False, "sparse": False, "nbytes": 72, "stored_bytes": 72},
    }
    assert rows[1]["quantization"] == {
        "granularity": "per-channel",
        "axis": 0,
        "scales": 4,
        "scale_min": pytest.approx(0.1, rel=2**-23),  # one float32 step
        "scale_max": pytest.approx(0.4, rel=2**-23),
        "zero_point_min": 0,
        "zero_point_max": 0,
    }
    assert (rows[0]["quantization"]["zero_point_min"], rows[3]["quantization"]["zero_point_max"]) == (-128, 3)
    assert rows[0]["quantization"]["granularity"] == "per-tensor"
    assert rows[0]["quantization"]["axis"] is None
    assert rows[5]["quantization"] is None


def test_signatures_subgraphs_and_metadata(small_file):
    model = read_model(small_file)
    assert describe.signature_rows(model) == [
        {"key": "serving_default", "subgraph": 0, "inputs": {"image": 0}, "outputs": {"label": 7}}
    ]
    assert describe.subgraph_rows(model) == [
        {"index": 0, "name": "main", "operators": 3, "tensors": 8, "inputs": [0], "outputs": [7]}
    ]
    assert describe.metadata_rows(model) == [{"name": "min_runtime_version", "size_bytes": 16, "text": "2.3.0"}]


def test_binary_metadata_has_no_text(file):
    file.metadata("blob", b"\x00\x01\xff")
    file.metadata("control", b"a\x1b[31m")
    assert [row["text"] for row in describe.metadata_rows(read_model(file.build()))] == [None, None]


def test_weights_read_twice_are_stored_once(file):
    weights = file.tensor([8], data=bytes(8))
    sparse = file.tensor([64], data=bytes(5), sparsity=schema.SparsityParametersT())
    file.operator("ADD", [weights, weights, sparse, -1], [])
    graph = read_model(file.build()).main
    assert describe.weight_bytes(graph, graph.operators[0]) == 8 + 5


def test_plain_values_fit_json():
    assert describe.plain((1, (2.5, "a"))) == [1, [2.5, "a"]]
    assert describe.plain(b"\x01\xff") == "01ff"
    assert [describe.plain(value) for value in (math.inf, -math.inf, math.nan)] == ["inf", "-inf", "nan"]
    assert describe.plain(None) is None
    assert describe.plain(True) is True


def test_open_dimensions_and_states_and_custom_options_are_told(file):
    x = file.tensor([1, 4], shapeSignature=[-1, 4], isVariable=True)
    file.operator("MINE", [x], [x], customOptions=[1, 2, 3])
    model = read_model(file.build([x], [x]))
    (tensor,), (operator,) = describe.tensor_rows(model), describe.operator_rows(model)
    assert (tensor["shape"], tensor["signature"], tensor["variable"]) == ([1, 4], [-1, 4], True)
    assert (operator["op"], operator["custom"], operator["custom_options_bytes"]) == ("MINE", True, 3)
    assert (
        operator["inputs"]
        == operator["outputs"]
        == [{"tensor": 0, "dtype": "int8", "shape": [1, 4], "constant": False}]
    )
