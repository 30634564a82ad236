"""From what a profiler calls an operator to the operator of the file, and its layers."""

from __future__ import annotations

import pytest

from edgeopt.flatbuffer import read_model
from edgeopt.pages.operators import layer_words, timed_operators

CONV, DENSE = "Convolution (NHWC, QC8) IGEMM", "Fully Connected (NC, QS8, QC8W) GEMM"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model/relu/Relu;model/conv/BiasAdd;model/conv/Conv2D", "relu, conv"),
        ("model/block/conv/BiasAdd/ReadVariableOp", "block/conv"),
        ("dense", "dense"),
        ("m/a/x;m/b/x;m/c/x;m/d/x", "a, b, c and 1 more"),
    ],
)
def test_layers_of_a_tensor(name: str, words: str) -> None:
    assert layer_words(name) == words


@pytest.fixture(scope="module")
def resnet8(shared_data):
    """CONV_2D and ADD, and at the end AVERAGE_POOL_2D (12), FULLY_CONNECTED (13) and SOFTMAX (14)."""
    return read_model((shared_data / "cifar10" / "mlperf_resnet8_int8.tflite").read_bytes())


def profiled(model, *, without=()):
    """What the profiler says of a file: an ADD is an Add and a Clamp, what it runs itself has its index."""
    names = {"CONV_2D": [CONV], "ADD": ["Add (ND)", "Clamp (NC)"], "FULLY_CONNECTED": ["Static Reshape (NC)", DENSE]}
    rows = []
    for operator in model.main.operators:
        if operator.index in without:
            continue
        for name in names.get(operator.name, [operator.name]):
            by = "delegate" if operator.name in names else "builtin"
            rows.append({"op": name, "by": by, "index": operator.index, "ms": 0.1, "share": 0.05})
    return rows


def test_operators_of_the_delegate_are_found_in_the_files_order(resnet8) -> None:
    rows = profiled(resnet8)
    found = timed_operators(resnet8, [{**row, "index": 0} if row["by"] == "delegate" else row for row in rows])
    expected = [None if row["op"].startswith("Static") else row["index"] for row in rows]
    assert [item.index for item in found] == expected
    assert all(item.layer for item in found if item.index is not None)


def test_where_an_operator_with_weights_is_not_found_no_layer_of_the_delegate_is_told(resnet8) -> None:
    rows = profiled(resnet8, without=(1,))
    found = timed_operators(resnet8, rows)
    told = [(item.layer, item.index) for item, row in zip(found, rows, strict=True) if row["by"] == "delegate"]
    assert set(told) == {("", None)}


def test_without_the_file_only_times_are_told() -> None:
    (found,) = timed_operators(None, [{"op": CONV, "by": "delegate", "index": 0, "ms": 0.1, "share": 1.0}])
    assert (found.ms, found.layer) == (0.1, "")
