"""`--delegate gpu`: LiteRT's accelerator where there is a GPU, and one sentence where there is none.

Chromium brings a Vulkan in software along, SwiftShader: where it is installed, the accelerator runs on that.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeopt.converters.gpu import GpuPredictor
from edgeopt.devices import RunOptions
from edgeopt.errors import DeviceError
from edgeopt.flatbuffer import read_model

from ..flatbuffer.conftest import FileBuilder
from .conftest import RUNTIMES, float_model, halving_model

ON_GPU = RunOptions(bench=None, delegate="gpu", runtime="ai_edge_litert")
X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
# Those without options that keep the shape.
SIMPLE = """
ABS CEIL COS ELU EXP FLOOR HARD_SWISH LOG LOGISTIC NEG RELU RELU6 RELU_N1_TO_1 ROUND RSQRT SIGN SIN SQRT SQUARE TANH
"""
VULKAN = Path("/usr/lib/chromium/vk_swiftshader_icd.json")

litert = pytest.mark.skipif("ai_edge_litert" not in RUNTIMES, reason="the accelerator is ai_edge_litert's")


@pytest.fixture
def swiftshader(monkeypatch):
    if not VULKAN.is_file():
        pytest.skip("there is no Chromium, whose Vulkan in software stands for a GPU")
    monkeypatch.setenv("VK_ICD_FILENAMES", str(VULKAN))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(VULKAN.parent))


@pytest.mark.skipif("tflite_runtime" not in RUNTIMES, reason="tflite_runtime is not installed")
def test_a_runtime_without_an_accelerator_is_refused(device):
    with pytest.raises(DeviceError, match="tflite_runtime has no GPU accelerator; ai_edge_litert has one"):
        device.measure(float_model(), {"x": X}, replace(ON_GPU, runtime="tflite_runtime"))


@litert
def test_an_integer_file_is_refused_whose_answers_would_be_others(device):
    with pytest.raises(DeviceError, match="computes with integers.*convert it with --quantize float16"):
        device.measure(halving_model(), {"x": X}, ON_GPU)


@litert
def test_a_machine_without_a_gpu_is_told_in_one_sentence(device, monkeypatch):
    monkeypatch.setenv("VK_ICD_FILENAMES", "/nowhere.json")
    with pytest.raises(
        DeviceError, match=r"GPU accelerator does not take this model here \(.*No adapters found\).*vulkaninfo"
    ):
        device.measure(float_model(), {"x": X}, ON_GPU)


@litert
def test_a_float_file_gives_the_answers_of_the_cpu(device, swiftshader):
    plain = device.measure(float_model(), {"x": X}, replace(ON_GPU, delegate=None)).real_outputs()
    found = device.measure(float_model(), {"x": X}, ON_GPU)
    assert found.kernel_profile.delegate == "gpu"
    for name, values in plain.items():
        np.testing.assert_allclose(found.real_outputs()[name], values, rtol=1e-2, atol=1e-2)  # 16 bits on a GPU


def _chain(*operators: str) -> bytes:
    """Operators of one input, in a row, on a picture of floats."""
    file = FileBuilder()
    tensors = [file.tensor([1, 2, 2, 4], "float32", name=f"t{number}") for number in range(len(operators) + 1)]
    for name, before, after in zip(operators, tensors, tensors[1:], strict=False):
        options = "L2NormOptions" if name == "L2_NORMALIZATION" else None
        file.operator(name, [before], [after], options=options)
    return file.build(tensors[:1], tensors[-1:])


@litert
@pytest.mark.parametrize(
    ("operators", "profile"),
    [
        (SIMPLE.split(), "gpu"),
        (("SIN", "L2_NORMALIZATION", "RELU", "TANH"), "gpu and cpu"),
        (("L2_NORMALIZATION",), None),
    ],
)
def test_what_is_left_to_the_cpu_is_what_the_check_says(device, swiftshader, operators, profile):
    data = _chain(*operators)
    predicted = GpuPredictor().predict(read_model(data))
    assert bool(predicted.refusal) == (profile is None)
    if profile is None:
        with pytest.raises(DeviceError, match="takes no operator of this model"):
            device.measure(data, {"t0": X[:4].reshape(1, 2, 2, 4)}, ON_GPU)
    else:
        found = device.measure(data, {"t0": X[:4].reshape(1, 2, 2, 4)}, ON_GPU)
        assert found.kernel_profile.delegate == profile
        assert bool(predicted.cpu_ops) == (profile == "gpu and cpu")
