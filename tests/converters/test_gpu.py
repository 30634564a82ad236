"""What the GPU accelerator takes, told without a GPU; `tests/devices/test_gpu.py` holds it against the real one."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.check import Subject, checker
from edgeopt.converters.gpu import GpuPredictor
from edgeopt.flatbuffer import read_model

from ..flatbuffer.conftest import FileBuilder


def predicted(file: FileBuilder, inputs, outputs):
    return GpuPredictor().predict(read_model(file.build(inputs, outputs)))


def one(name, shape, output, dtype="float32", **fields):
    """A RELU, and an operator behind it."""
    file = FileBuilder()
    x, middle = file.tensor(shape, name="x"), file.tensor(shape, name="middle")
    for tensor in file.model.subgraphs[0].tensors:
        tensor.type = 0  # float32
    y = file.tensor(output, dtype, name="y")
    file.operator("RELU", [x], [middle])
    file.operator(name, [middle, *fields.pop("constants", lambda _: [])(file)], [y], **fields)
    return predicted(file, [x], [y]).operators[1]


def strides(*values):
    return lambda file: [file.tensor([2], "int32", data=np.array(item, np.int32)) for item in ((0, 0), (1, 4), values)]


@pytest.mark.parametrize(
    ("found", "verdict", "rule", "why"),
    [
        (one("TANH", [1, 4], [1, 4]), "mapped", None, ""),
        (one("L2_NORMALIZATION", [1, 4], [1, 4]), "cpu", "operator", "does not have this operator"),
        (one("MyOwnOp", [1, 4], [1, 4]), "cpu", "operator", "does not have this operator"),
        (one("ARG_MAX", [1, 4], [1], "int64"), "cpu", "type", "'y' has the type int64"),
        (one("ARG_MAX", [1, 4], [1], "int32"), "mapped", None, ""),
        (one("RESHAPE", [1, 4], [1, 1, 1, 2, 2]), "cpu", "rank", "'y' has 5 dimensions"),
        (one("PAD", [1, 4], [1, 6]), "cpu", "padding", "pads 2 dimensions"),
        (
            one("STRIDED_SLICE", [1, 4], [4], constants=strides(1, 1), options="StridedSliceOptions", shrinkAxisMask=1),
            *("cpu", "slice", "shrink_axis_mask"),
        ),
        (one("STRIDED_SLICE", [1, 4], [1, 4], constants=strides(1, -1)), "cpu", "slice", "negative stride"),
        (one("STRIDED_SLICE", [1, 4], [1, 4], constants=strides(1, 1)), "mapped", None, ""),
        (one("SEGMENT_SUM", [1, 4], [1, 4]), "unsure", "not-tried", "not tried"),
    ],
)
def test_each_rule_finds_what_it_is_for(found, verdict, rule, why):
    assert (found.verdict, found.rule) == (verdict, rule)
    assert why in found.why
    assert verdict == "mapped" or found.remedy


def test_the_largest_part_of_the_graph_stays():
    file = FileBuilder()
    names = ("SIN", "L2_NORMALIZATION", "COS", "TANH", "ARG_MIN", "RELU")
    tensors = [file.tensor([1, 4], "float32") for _ in range(len(names) + 1)]
    for name, before, after in zip(names, tensors, tensors[1:], strict=False):
        file.operator(name, [before], [after])
    found = predicted(file, tensors[:1], tensors[-1:])
    assert [item.verdict for item in found.operators] == ["cpu", "cpu", "mapped", "mapped", "cpu", "cpu"]
    assert (found.operators[0].rule, found.operators[5].rule) == ("one-part", "one-part")
    assert found.refusal is None


def test_integer_files_and_files_with_state_are_refused(shared_data):
    integers = Subject("kws", tflite=(shared_data / "kws" / "ref_int8.tflite").read_bytes())
    (refusal,) = checker("gpu").check(integers).refusals
    assert refusal.rule == "integers" and "--quantize float16" in refusal.remedy
    state = Subject("lstm", tflite=(shared_data / "coral" / "keras_lstm_mnist_ptq.tflite").read_bytes())
    found = checker("gpu").check(state)
    assert found.refusals[0].rule == "state" and found.verdicts["ok"] == 0


@pytest.mark.heavy
def test_a_keras_model_is_converted_to_float16_for_the_check():
    import keras

    x = keras.Input((16, 16, 3), name="image")
    y = keras.layers.Conv2D(8, 3, activation="relu")(x)
    y = keras.layers.Dense(4, activation="softmax")(keras.layers.GlobalAveragePooling2D()(y))
    found = checker("gpu").check(Subject("net", keras=keras.Model(x, y)))
    assert found.summary["cpu_ops"] == found.summary["unsure_ops"] == {}
    assert found.summary["mapped_ops"]["DEQUANTIZE"] > 0  # float16 weights
