"""`edgeopt.flatbuffer.reader`: a file's bytes become a `Model`, as a real interpreter sees it."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeopt.errors import FileFormatError, UsageError
from edgeopt.flatbuffer import load_model, read_file, read_model

INTERPRETABLE = (
    "cifar10/mlperf_resnet8_int8.tflite",
    "coral/deeplab_mobilenet_edgetpu_slim_cityscapes_quant.tflite",
    "coral/keras_lstm_mnist_ptq.tflite",
    "coral/mobilenet_v1_0.25_128_quant.tflite",
    "coral/split_concat.tflite",
    "coral/tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "kws/ref_int8.tflite",
)


def test_a_small_file_is_read_whole(small_file):
    model = read_model(small_file)
    assert (model.version, model.size_bytes, len(model.subgraphs)) == (3, len(small_file), 1)
    assert model.metadata == {"min_runtime_version": b"2.3.0".ljust(16, b"\0")}
    assert model.main.name == "main"
    assert (model.main.inputs, model.main.outputs) == ((0,), (7,))
    (signature,) = model.signatures
    assert (signature.key, signature.inputs, signature.outputs) == ("serving_default", {"image": 0}, {"label": 7})


def test_operators_carry_their_options_by_schema_name(small_file):
    conv, reshape, dense = read_model(small_file).main.operators
    assert (conv.name, conv.builtin_code, conv.version, conv.custom) == ("CONV_2D", 3, 3, False)
    assert (conv.inputs, conv.outputs) == ((0, 1, 2), (3,))
    assert conv.options["padding"] == "VALID"
    assert conv.options["fused_activation_function"] == "RELU6"
    assert conv.options["dilation_w_factor"] == 1
    assert reshape.options == {"new_shape": (1, 16)}
    assert dense.inputs == (4, 6, -1)
    assert dense.options["weights_format"] == "DEFAULT"


def test_tensors_carry_quantisation_and_constant_data(small_file):
    x, kernel, bias, *_ = read_model(small_file).main.tensors
    assert (x.name, x.dtype, x.shape, x.elements, x.nbytes) == ("x", "int8", (1, 4, 4, 2), 32, 32)
    assert not x.is_constant
    assert x.data() is None
    np.testing.assert_array_equal(x.quantization.scales, [0.5])
    assert not x.quantization.per_channel
    assert kernel.quantization.per_channel
    np.testing.assert_array_equal(kernel.quantization.scales, np.float32([0.1, 0.2, 0.3, 0.4]))
    np.testing.assert_array_equal(kernel.quantization.zero_points, [0, 0, 0, 0])
    np.testing.assert_array_equal(kernel.data().ravel(), np.arange(-36, 36))
    assert kernel.data().shape == (4, 3, 3, 2)
    assert bias.nbytes == bias.stored_bytes == 16
    with pytest.raises(ValueError, match="read-only"):
        kernel.data()[0] = 1


def test_real_files_are_read_as_the_interpreter_reads_them(shared_data, ask_interpreter):
    answers = ask_interpreter([str(shared_data / name) for name in INTERPRETABLE])
    assert len(answers) == len(INTERPRETABLE)
    for path, answer in answers.items():
        graph = load_model(path).main
        assert list(graph.inputs) == answer["inputs"]
        assert list(graph.outputs) == answer["outputs"]
        seen = {item["index"]: item for item in answer["tensors"]}
        for tensor in graph.tensors:
            # The interpreter appends scratch tensors of its own, but leaves none out.
            item = seen[tensor.index]
            scales = () if tensor.quantization is None else tensor.quantization.scales
            points = () if tensor.quantization is None else tensor.quantization.zero_points
            found = (tensor.name, tensor.dtype, list(tensor.shape), list(tensor.signature))
            assert found == (item["name"], item["dtype"], item["shape"], item["shape_signature"])
            assert [float(scale) for scale in scales] == item["scales"]
            assert list(points) == item["zero_points"]
            if len(scales) > 1:
                assert tensor.quantization.axis == item["axis"]


def test_every_shared_file_is_read_and_all_its_constants_decode(shared_data):
    files = sorted(shared_data.glob("**/*.tflite"))
    assert len(files) >= 18
    for path in files:
        model = load_model(path)
        for tensor in model.main.tensors:
            data = tensor.data()
            assert tensor.is_constant == (data is not None)
            assert data is None or data.shape == tensor.shape


def test_a_file_of_four_megabytes_takes_milliseconds(shared_data):
    data = read_file(shared_data / "coral/tf2_mobilenet_v2_1.0_224_ptq.tflite")
    read_model(data)
    start = time.perf_counter()
    read_model(data)
    # About 20 ms; the bound leaves room for a busy machine, and a reader that copied or looped over weights misses it.
    assert time.perf_counter() - start < 0.5


def test_compiled_files_show_the_custom_operator(shared_data):
    model = load_model(shared_data / "coral/mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    (operator,) = model.main.operators
    assert (operator.name, operator.custom) == ("edgetpu-custom-op", True)
    assert b"DWN1" in operator.custom_options
    assert len(operator.custom_options) > 700_000


def test_variables_and_intermediates_of_an_lstm_are_kept(shared_data):
    graph = load_model(shared_data / "coral/keras_lstm_mnist_ptq.tflite").main
    (lstm,) = [operator for operator in graph.operators if operator.name == "UNIDIRECTIONAL_SEQUENCE_LSTM"]
    assert -1 in lstm.inputs
    assert [graph.tensors[index].is_variable for index in lstm.inputs[18:20]] == [True, True]
    assert len(lstm.intermediates) == 5


def test_control_flow_and_several_subgraphs(file):
    body = file.subgraph("body")
    inner = file.tensor([3], graph=body)
    file.operator("ABS", [inner], [inner], graph=body)
    x, y = file.tensor([3]), file.tensor([3])
    file.operator("WHILE", [x], [y], options="WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=body)
    model = read_model(file.build([x], [y]))
    assert [graph.name for graph in model.subgraphs] == ["main", "body"]
    assert model.main.operators[0].options == {"cond_subgraph_index": 1, "body_subgraph_index": 1}


def test_dynamic_sparse_and_variable_tensors_say_so(file):
    dynamic = file.tensor([1, 8], shapeSignature=[-1, 8])
    sparse = file.tensor([4, 4], data=bytes(3), sparsity=schema.SparsityParametersT())
    variable = file.tensor([2], isVariable=True)
    tensors = read_model(file.build([dynamic], [])).main.tensors
    assert (tensors[dynamic].shape, tensors[dynamic].shape_signature) == ((1, 8), (-1, 8))
    assert tensors[sparse].sparse
    assert (tensors[sparse].nbytes, tensors[sparse].stored_bytes, tensors[sparse].data()) == (16, 3, None)
    assert tensors[variable].is_variable


def test_buffers_and_custom_options_may_lie_behind_the_flatbuffer(file):
    x = file.tensor([4], "int16")
    file.operator("my-op", [x], [], largeCustomOptionsOffset=1, largeCustomOptionsSize=1)
    file.model.subgraphs[0].tensors[0].buffer = file.buffer(b"")
    buffer, operator = file.model.buffers[1], file.model.subgraphs[0].operators[0]
    buffer.data, buffer.offset, buffer.size = None, 1, 8
    start = len(file.build())
    buffer.offset = start
    operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize = start + 8, 5
    model = read_model(file.build() + np.arange(4, dtype="<i2").tobytes() + b"hello")
    np.testing.assert_array_equal(model.main.tensors[0].data(), [0, 1, 2, 3])
    assert model.main.operators[0].custom_options == b"hello"


def test_operators_and_types_newer_than_the_schema_get_a_name(file):
    x = file.tensor([4], data=bytes(4), type=99)
    file.operator("ABS", [x], [x])
    file.model.operatorCodes[0].builtinCode = 9999
    model = read_model(file.build())
    assert model.main.operators[0].name == "unknown(9999)"
    assert (model.main.tensors[0].dtype, model.main.tensors[0].nbytes) == ("unknown(99)", 0)
    assert model.main.tensors[0].data() is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"hello, world", r"starts with b'hello, w'"),
    ],
)
def test_other_files_are_refused_by_what_they_are(data, kind, tmp_path):
    with pytest.raises(FileFormatError, match=f"The model is .*{kind}.*expected a .tflite file .*convert the model"):
        read_model(data)
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=f"model.tflite is .*{kind}"):
        load_model(path)


def test_a_missing_file_and_a_folder_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match=r"Cannot read .*none.tflite: No such file.*give the path"):
        load_model(tmp_path / "none.tflite")
    with pytest.raises(UsageError, match="Is a directory"):
        load_model(tmp_path)


def test_reading_imports_no_tensorflow(small_file, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(small_file)
    script = (
        "import sys, edgeopt.flatbuffer\n"
        "assert 'ai_edge_litert.schema_py_generated' not in sys.modules\n"
        f"edgeopt.flatbuffer.load_model({str(path)!r})\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'keras', 'tf_keras')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
