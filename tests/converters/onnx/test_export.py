"""An .onnx file computes what the .tflite file computes, with its very numbers, in onnxruntime."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import edgeopt
from edgeopt.converters.onnx import export_onnx, onnx_outputs
from edgeopt.converters.onnx.flattening import flattened
from edgeopt.converters.outputs import file_outputs
from edgeopt.errors import ConversionError
from edgeopt.evaluation.fidelity import snr_db
from edgeopt.flatbuffer import read_model

onnx = pytest.importorskip("onnx")

X = np.random.default_rng(0).uniform(-1, 1, size=(40, 12, 12, 3)).astype(np.float32)
NAMES = ["image"], ["scores", "box"]


def network():
    """A Dense behind a pooling that leaves 1x1: TFLite flattens in the operator, and tf2onnx 1.17 loses that bias."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3), name="image")
    x = layers.ReLU()(layers.Conv2D(8, 3, strides=2, name="conv")(image))
    x = layers.ReLU()(layers.DepthwiseConv2D(3, name="depthwise")(x))
    flat = layers.Flatten()(layers.AveragePooling2D(3)(x))
    noise = keras.initializers.RandomNormal(stddev=1.0, seed=1)
    scores = layers.Dense(5, bias_initializer=noise, name="scores")(flat)
    return keras.Model(image, [scores, layers.Dense(2, name="box")(flat)])


@pytest.fixture(scope="module")
def made():
    """Artifacts by format and mode, each converted once in this process."""
    model, kept = network(), {}

    def convert(to, quantize="int8", **options):
        key = (to, quantize, *sorted(options))
        if key not in kept:
            kept[key] = edgeopt.convert(
                model, calibration=X, calibration_samples=40, isolate=False, to=to, quantize=quantize, **options
            )
        return kept[key]

    return convert


def integers(proto):
    return sorted(
        hashlib.sha256(np.sort(onnx.numpy_helper.to_array(item), None).tobytes()).hexdigest()
        for item in proto.graph.initializer
        if item.data_type == onnx.TensorProto.INT8 and len(item.dims) > 1
    )


def test_a_float_file_gives_the_outputs_of_the_tflite_file_by_name_and_keeps_the_layout(made):
    tflite, artifact = made("tflite", "float32"), made("onnx", "float32")
    expected, got = file_outputs(tflite.model, {"image": X}), onnx_outputs(artifact.model, {"image": X})
    assert list(got) == NAMES[1]
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-4, atol=1e-5)  # float32, summed in another order
    assert artifact.sidecar["format"] == "onnx"
    assert [item["shape"] for item in artifact.sidecar["inputs"]] == [[1, 12, 12, 3]]
    assert artifact.fidelity.snr_db > 80  # float32 has 144 dB, and sums of hundreds lose some


def test_without_the_flattening_a_bias_would_be_lost_and_the_file_is_refused(made, monkeypatch):
    tflite = made("tflite", "float32").model
    assert flattened(tflite) != tflite
    monkeypatch.setattr("edgeopt.converters.onnx.export.flattened", lambda content: content)
    with pytest.raises(ConversionError, match="whose outputs are not those of the .tflite file"):
        export_onnx(tflite, NAMES)


def test_a_qdq_file_has_the_scales_and_the_integers_of_the_tflite_file(made):
    artifact = made("onnx")
    tflite = made("tflite", input_type="float32", output_type="float32").model
    proto = onnx.load_model_from_string(artifact.model)
    scales = {float(v) for item in proto.graph.initializer if item.data_type == onnx.TensorProto.FLOAT
              for v in onnx.numpy_helper.to_array(item).reshape(-1)}  # fmt: skip
    tensors = read_model(tflite).main.tensors
    stored = [tensor for tensor in tensors if tensor.dtype == "int8"]
    assert {float(scale) for tensor in stored for scale in tensor.quantization.scales} <= scales
    weights = [tensor.data() for tensor in stored if tensor.data() is not None and tensor.data().ndim > 1]
    assert integers(proto) == sorted(hashlib.sha256(np.sort(array, None).tobytes()).hexdigest() for array in weights)


def test_a_qdq_file_is_as_near_to_the_model_as_the_tflite_file(made):
    artifact, tflite = made("onnx"), made("tflite", input_type="float32", output_type="float32")
    assert artifact.fidelity.snr_db == pytest.approx(tflite.fidelity.snr_db, abs=3)  # other kernels round otherwise
    expected, got = file_outputs(tflite.model, {"image": X}), onnx_outputs(artifact.model, {"image": X})
    assert all(snr_db(values, got[name]) > 25 for name, values in expected.items())  # a step or two of 256
    assert [item["dtype"] for item in artifact.sidecar["inputs"]] == ["float32"]


def test_for_tensorrt_zero_points_are_0_and_biases_float(made):
    proto = onnx.load_model_from_string(made("tensorrt").model)
    values = {item.name: onnx.numpy_helper.to_array(item) for item in proto.graph.initializer}
    plain = onnx.load_model_from_string(made("onnx").model)
    both = [node for node in proto.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert both and all(not values[node.input[2]].any() for node in both)
    assert all(values[node.input[0]].dtype == np.int8 for node in both if node.input[0] in values)
    assert integers(proto) == integers(plain)
    assert made("tensorrt").fidelity.snr_db > 20  # half of the steps behind a ReLU: 6 dB less than made("onnx")


@pytest.mark.heavy
def test_the_same_file_gives_the_same_bytes_in_any_process(made, tmp_path):
    (tmp_path / "m.tflite").write_bytes(made("tflite", input_type="float32", output_type="float32").model)
    code = (
        "import hashlib, sys; from edgeopt.converters.onnx import export_onnx\n"
        f"content = open('m.tflite', 'rb').read()\nprint(hashlib.sha256(export_onnx(content, {NAMES!r}).model).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TF_CPP_MIN_LOG_LEVEL": "3"}
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert told.stdout.strip() == hashlib.sha256(made("onnx").model).hexdigest(), told.stderr[-500:]


def test_the_snippet_in_the_sidecar_runs_the_file(made, tmp_path):
    artifact = made("onnx")
    artifact.save(tmp_path / "m.onnx")
    snippet = json.loads((tmp_path / "m.json").read_text())["snippet"]
    told = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0 and told.stdout.count("[[") == 2, told.stderr
