"""`--delegate gpu`: LiteRT's accelerator where there is a GPU, and one sentence where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeopt.devices import RunOptions
from edgeopt.errors import DeviceError

from .conftest import RUNTIMES, float_model, halving_model

ON_GPU = RunOptions(bench=None, delegate="gpu", runtime="ai_edge_litert")
X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)

litert = pytest.mark.skipif("ai_edge_litert" not in RUNTIMES, reason="the accelerator is ai_edge_litert's")


@pytest.mark.skipif("tflite_runtime" not in RUNTIMES, reason="tflite_runtime is not installed")
def test_a_runtime_without_an_accelerator_is_refused(device):
    with pytest.raises(DeviceError, match="tflite_runtime has no GPU accelerator; ai_edge_litert has one"):
        device.measure(float_model(), {"x": X}, replace(ON_GPU, runtime="tflite_runtime"))


@litert
def test_an_integer_file_is_refused_whose_answers_would_be_others(device):
    with pytest.raises(DeviceError, match="computes with integers.*convert it with --quantize float16"):
        device.measure(halving_model(), {"x": X}, ON_GPU)


@litert
def test_a_float_file_gives_the_answers_of_the_cpu_or_the_gpu_is_said_to_be_missing(device):
    plain = device.measure(float_model(), {"x": X}, replace(ON_GPU, delegate=None)).real_outputs()
    try:
        found = device.measure(float_model(), {"x": X}, ON_GPU)
    except DeviceError as error:
        assert "GPU accelerator does not take this model here" in str(error) and "vulkaninfo" in str(error)
        return
    assert found.kernel_profile.delegate in ("gpu", "gpu and cpu")
    for name, values in plain.items():
        np.testing.assert_allclose(found.real_outputs()[name], values, rtol=1e-2, atol=1e-2)  # 16 bits on a GPU
