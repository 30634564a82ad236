"""An .onnx file is measured like any other, by onnxruntime in the agent's worker."""

from __future__ import annotations

import numpy as np
import pytest

import edgeopt
from edgeopt.devices import BenchPlan, Device, RunOptions
from edgeopt.devices.boards.runtimes import BoardFacts, choose
from edgeopt.errors import DeviceError, FileFormatError, UsageError

from .conftest import halving_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def file() -> bytes:
    """Scores: x times a matrix, with an open batch."""
    make = onnx.helper
    ends = [
        make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size]) for name, size in (("x", 4), ("y", 3))
    ]
    weights = onnx.numpy_helper.from_array(WEIGHTS, "w")
    graph = make.make_graph([make.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_samples_are_run_and_timed_under_the_profile_of_onnxruntime(file):
    plan = BenchPlan(min_runs=5, max_runs=5, min_seconds=0, max_seconds=5, processes=1)
    with Device.local() as device:
        found = device.measure(file, {"x": X}, RunOptions(bench=plan))
    np.testing.assert_allclose(found.real_outputs()["y"], X @ WEIGHTS, rtol=1e-5, atol=1e-6)  # float32
    assert (found.kernel_profile.runtime, found.kernel_profile.delegate) == ("onnxruntime", "none")
    assert len(found.timed().samples_ms) == 5


def test_validate_takes_an_onnx_file_and_compares_it_with_another(file):
    labels = (X @ WEIGHTS).argmax(axis=1)
    plan = BenchPlan(min_runs=1, max_runs=1, min_seconds=0, max_seconds=5, processes=1)
    report = edgeopt.validate(file, data=(X, labels), baseline=file, bench=plan).to_dict()
    assert (report["accuracy"], report["accuracy_drop"], report["samples"]) == (1.0, 0.0, 50)
    assert report["kernel_profile"]["runtime"] == "onnxruntime"


def test_a_runtime_of_the_other_format_is_refused_before_anything_runs(file):
    with Device.local() as device:
        with pytest.raises(UsageError, match="tflite_runtime runs .tflite files, and this is an .onnx file"):
            device.measure(file, options=RunOptions(runtime="tflite_runtime"))
        with pytest.raises(UsageError, match="onnxruntime runs .onnx files, and this is a .tflite file"):
            device.measure(halving_model(), options=RunOptions(runtime="onnxruntime"))
        with pytest.raises(UsageError, match="takes neither delegate nor kernels"):
            device.measure(file, options=RunOptions(delegate="edgetpu"))


def test_inspect_says_where_to_look_instead(file, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(file)
    with pytest.raises(UsageError, match="m.onnx is an .onnx file, and a .tflite file is expected; its sidecar says"):
        edgeopt.inspect(path)
    path.write_bytes(file[:30])
    with pytest.raises(FileFormatError, match="is not a whole .onnx file"):
        edgeopt.validate(path, data=(X, X))


@pytest.mark.parametrize(("python", "version"), [((3, 11), "1.32.0"), ((3, 10), "1.23.2"), ((3, 9), "1.19.2")])
def test_boards_get_the_newest_onnxruntime_that_was_built_for_them(python, version):
    assert choose(BoardFacts(python, (2, 36), "aarch64"), "onnxruntime").version == version


@pytest.mark.parametrize(("python", "machine"), [((3, 11), "armv7l"), ((3, 7), "aarch64")])
def test_boards_without_a_wheel_of_it_are_refused(python, machine):
    with pytest.raises(DeviceError, match="No onnxruntime was built for Python 3"):
        choose(BoardFacts(python, (2, 36), machine), "onnxruntime")
