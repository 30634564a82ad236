"""What `inspect`, `validate`, `bench` and `parity` compute from a .tflite file before anything runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from edgeopt.api.inspect import inspect
from edgeopt.converters.edgetpu.package import read_package
from edgeopt.converters.edgetpu.predict import EdgeTpuPredictor
from edgeopt.converters.gpu import GpuPredictor
from edgeopt.devices.agent.larq import _Ends
from edgeopt.errors import FileFormatError
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.kernels import assign, file_kernels, join_gates
from edgeopt.flatbuffer.specs import input_specs, output_specs
from edgeopt.flatbuffer.tap import with_taps

from ...flatbuffer.conftest import build_small_file
from ..readers import Reader, shared_data


def _coral(*names: str) -> dict[str, bytes]:
    paths = [shared_data() / "coral" / f"{name}.tflite" for name in names]
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def _seeds() -> Mapping[str, bytes]:
    names = ("keras_lstm_mnist_ptq", "split_concat", "model_invoking_error", "split_concat_edgetpu")
    return {"small": build_small_file(), **_coral(*names)}


def _read(data: bytes) -> None:
    found = inspect(data)
    json.dumps(found.to_dict(), allow_nan=False)
    model = read_model(data)
    input_specs(model), output_specs(model)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.data()
    assign(join_gates(file_kernels(model), {"lstm": 1000}), {"lstm": 1000, "dense": 48})


def _taps(data: bytes) -> None:
    changed, found = with_taps(data)
    assert len(read_model(changed).main.outputs) == len(found)


def _edgetpu(data: bytes) -> None:
    EdgeTpuPredictor().predict(read_model(data), data).to_dict()


def _gpu(data: bytes) -> None:
    GpuPredictor().predict(read_model(data), data).to_dict()


def _ends(data: bytes) -> None:
    try:
        _Ends(data)
    except ValueError as error:  # a runtime's refusal, which the session maps
        raise FileFormatError(str(error)) from error


def _package_seeds() -> Mapping[str, bytes]:
    """The options of the custom operator in compiled files, whole."""
    found = {
        name: read_model(data) for name, data in _coral("split_concat_edgetpu", "keras_lstm_mnist_ptq_edgetpu").items()
    }
    return {name: next(o.custom_options for o in model.main.operators if o.custom) for name, model in found.items()}


def _package(data: bytes) -> None:
    json.dumps(read_package(data).to_dict(), allow_nan=False)


_SOURCES = (
    "edgeopt/flatbuffer/*.py",
    "edgeopt/api/inspect.py",
    "converters/edgetpu/package.py",
    "converters/edgetpu/walk.py",
)
_TROUBLE = ("repro/hostile/*.tflite", "repro/hostile/out_*.bin")

_PREDICTING = ("predict", "constraints", "context", "file_checks", "parameters", "partition")

READERS = {
    "tflite": Reader(_read, _seeds, _SOURCES, _TROUBLE),
    "edgetpu": Reader(_edgetpu, _seeds, tuple(f"converters/edgetpu/{name}.py" for name in _PREDICTING), _TROUBLE),
    "gpu": Reader(_gpu, _seeds, ("converters/gpu.py",), _TROUBLE),
    "lce": Reader(_ends, _seeds, ("devices/agent/larq.py",), _TROUBLE),
    "dwn1": Reader(_package, _package_seeds, ("converters/edgetpu/package.py", "converters/edgetpu/walk.py")),
    "taps": Reader(_taps, _seeds, ("edgeopt/flatbuffer/tap.py", "edgeopt/flatbuffer/reader.py"), _TROUBLE),
}
