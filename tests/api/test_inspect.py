"""`edgeopt.inspect`: one call, one summary."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

import edgeopt
from edgeopt.errors import FileFormatError, UsageError

RESNET = "cifar10/mlperf_resnet8_int8.tflite"


def test_the_totals_of_a_real_file(shared_data):
    found = edgeopt.inspect(shared_data / RESNET)
    assert (found.size_bytes, found.macs, found.parameters) == (98_496, 12_501_632, 77_706)
    assert found.macs_unknown == ()
    assert found.fully_int8
    assert found.float_ops == ()
    assert found.ops == {"CONV_2D": 9, "ADD": 3, "AVERAGE_POOL_2D": 1, "FULLY_CONNECTED": 1, "RESHAPE": 1, "SOFTMAX": 1}
    assert 0.5 * found.size_bytes < found.gzip_bytes < found.size_bytes
    # At operator 2 the block's input, its first convolution and its result: three maps of 32 * 32 * 16 int8.
    assert found.peak_activation_bytes == 3 * 32 * 32 * 16
    assert found.granularity == {"CONV_2D": "per-channel", "FULLY_CONNECTED": "per-tensor"}
    assert [(spec.name, spec.shape, spec.signature, spec.zero_point) for spec in found.inputs] == [
        ("input_1_int8", (1, 32, 32, 3), (-1, 32, 32, 3), -128)
    ]


def test_a_path_bytes_and_an_artifact_give_the_same(shared_data):
    @dataclass
    class Artifact:
        model: bytes

    path = shared_data / RESNET
    expected = edgeopt.inspect(str(path)).to_dict()
    assert expected.pop("file") == str(path)
    for given in (path.read_bytes(), Artifact(path.read_bytes())):
        found = edgeopt.inspect(given).to_dict()
        assert found.pop("file") is None
        assert found == expected


def test_the_json_has_the_documented_fields(shared_data):
    found = json.loads(json.dumps(edgeopt.inspect(shared_data / RESNET).to_dict(), allow_nan=False))
    assert list(found) == [
        *("schema_version", "tool", "kind", "verdict", "file", "size_bytes", "gzip_bytes", "fully_int8", "float_ops"),
        *("dynamic_dimensions", "granularity", "low_bits", "edgetpu", "inputs", "outputs", "ops"),
        *("macs", "macs_unknown", "binary_macs", "parameters"),
        *(
            "peak_activation_bytes",
            "memory",
            "description",
            "subgraphs",
            "signatures",
            "metadata",
            "operators",
            "tensors",
        ),
    ]
    assert found["schema_version"] == 1
    assert found["verdict"] == "ok"
    assert {"name", "dtype", "shape", "scale", "zero_point"} <= found["inputs"][0].keys()
    assert sum(row["macs"] for row in found["operators"]) == found["macs"]
    assert sum(found["ops"].values()) == len(found["operators"])
    assert len(found["tensors"]) == found["subgraphs"][0]["tensors"]
    live = sum(tensor["nbytes"] for tensor in found["memory"]["live"])
    assert live == found["memory"]["peak_bytes"] == found["peak_activation_bytes"]


def test_every_shared_file_can_be_inspected(shared_data):
    files = sorted(shared_data.glob("**/*.tflite"))
    assert len(files) >= 10, "the shared files are not where they were"
    for path in files:
        json.dumps(edgeopt.inspect(path).to_dict(), allow_nan=False)


def test_a_compiled_file_says_that_its_macs_are_unknown(shared_data):
    found = edgeopt.inspect(shared_data / "coral/deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite")
    assert found.macs_unknown == ("edgetpu-custom-op",)
    assert found.ops["edgetpu-custom-op"] == 1
    assert found.ops["RESIZE_BILINEAR"] == 3


def test_something_else_is_a_usage_error():
    with pytest.raises(UsageError, match="Received int, expected a path, bytes or an artifact"):
        edgeopt.inspect(3)


def test_a_truncated_file_is_refused(shared_data):
    data = (shared_data / RESNET).read_bytes()
    with pytest.raises(
        FileFormatError, match=r"The model is a corrupt .tflite file \(.*\); convert or download it again"
    ):
        edgeopt.inspect(data[: len(data) // 2])


def test_inspecting_imports_no_tensorflow(shared_data):
    script = (
        f"import sys, edgeopt\nedgeopt.inspect({str(shared_data / RESNET)!r}).to_dict()\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'keras', 'tf_keras')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
