"""What `bench` and `parity` make of files compiled for the Edge TPU, as far as that goes without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.api.bench import bench, minimum_runtime
from edgeopt.api.parity import parity
from edgeopt.converters.edgetpu.package import packages
from edgeopt.errors import DeviceError, ModelError, UsageError
from edgeopt.flatbuffer import load_model, read_model

PLAIN = "mobilenet_v1_0.25_128_quant.tflite"
COMPILED = "mobilenet_v1_0.25_128_quant_edgetpu.tflite"


def test_a_compiled_file_names_the_runtime_it_needs(shared_data: Path) -> None:
    compiled = shared_data / "coral" / COMPILED
    (package,) = packages(load_model(compiled))
    assert minimum_runtime(read_model(compiled.read_bytes())) == package.minimum_runtime > 0


def test_a_plain_file_needs_none(shared_data: Path) -> None:
    assert minimum_runtime(read_model((shared_data / "coral" / PLAIN).read_bytes())) is None


def test_a_compiled_file_without_the_delegate_is_one_sentence(shared_data: Path) -> None:
    with pytest.raises(ModelError, match=r"compiled for the Edge TPU, and was run without it.*delegate edgetpu"):
        bench(shared_data / "coral" / COMPILED)


def test_an_absent_edge_tpu_library_is_one_sentence(shared_data: Path) -> None:
    with pytest.raises(DeviceError, match=r"libedgetpu"):
        bench(shared_data / "coral" / COMPILED, delegate="edgetpu")


def test_a_compiled_counterpart_needs_a_delegate(shared_data: Path) -> None:
    folder = shared_data / "coral"
    with pytest.raises(UsageError, match=r"without a delegate to run it"):
        parity(folder / PLAIN, data="x.npy", device="local", compiled=folder / COMPILED)
