"""What is said of an .onnx file, and of what is none."""

import pytest

from edgeopt.errors import FileFormatError, UsageError
from edgeopt.onnxfile import is_onnx, read_onnx, require_onnx

onnx = pytest.importorskip("onnx")


@pytest.fixture
def relu() -> bytes:
    make = onnx.helper
    ends = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 3]) for name in ("x", "y")]
    graph = make.make_graph([make.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_ends_operators_and_opset_are_read(relu):
    found = read_onnx(relu)
    assert (found.inputs[0].name, found.inputs[0].signature, found.inputs[0].shape) == ("x", (-1, 3), (1, 3))
    assert (found.outputs[0].dtype, found.outputs[0].index) == ("float32", 1)
    assert (found.ops, found.opset) == ({"Relu": 1}, 17)


def test_files_are_told_apart_by_their_beginning(relu):
    assert is_onnx(relu)
    assert not is_onnx(b"\x1c\0\0\0TFL3")
    assert not is_onnx(b"")


@pytest.mark.parametrize("cut", [1, 20, 40])
def test_a_damaged_file_is_refused(relu, cut):
    with pytest.raises(FileFormatError, match="m.onnx is not a whole .onnx file"):
        read_onnx(relu[:cut], "m.onnx")


def test_a_missing_package_is_named_with_the_command():
    with pytest.raises(UsageError, match=r"no_such_package, not installed here: pip install 'edgeopt\[onnx\]'"):
        require_onnx(("onnx", "no_such_package"))
