"""What `inspect`, `validate`, `bench` and `parity` compute from a .tflite file before anything runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from edgeopt.api.inspect import inspect
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.kernels import assign, file_kernels, join_gates
from edgeopt.flatbuffer.specs import input_specs, output_specs
from edgeopt.flatbuffer.tap import with_taps

from ...flatbuffer.conftest import build_small_file
from ..readers import Reader, shared_data


def _seeds() -> Mapping[str, bytes]:
    names = ("keras_lstm_mnist_ptq", "split_concat", "model_invoking_error", "split_concat_edgetpu")
    paths = [shared_data() / "coral" / f"{name}.tflite" for name in names]
    return {"small": build_small_file(), **{path.name: path.read_bytes() for path in paths if path.is_file()}}


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


_SOURCES = (
    "edgeopt/flatbuffer/*.py",
    "edgeopt/api/inspect.py",
    "converters/edgetpu/package.py",
    "converters/edgetpu/walk.py",
)
_TROUBLE = ("repro/hostile/*.tflite", "repro/hostile/out_*.bin")

READERS = {
    "tflite": Reader(_read, _seeds, _SOURCES, _TROUBLE),
    "taps": Reader(_taps, _seeds, ("edgeopt/flatbuffer/tap.py", "edgeopt/flatbuffer/reader.py"), _TROUBLE),
}
