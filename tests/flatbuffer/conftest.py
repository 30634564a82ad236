"""Small .tflite files written by hand with the schema's own classes, and what a real interpreter says of real ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

# Read in a process of its own: a runtime must not share one with TensorFlow, which other tests import.
ASK_INTERPRETER = """
import json, sys
from ai_edge_litert.interpreter import Interpreter, OpResolverType

def describe(path):
    interpreter = Interpreter(path, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    tensors, spans = [], []
    for item in interpreter.get_tensor_details():
        quantization = item["quantization_parameters"]
        tensors.append({
            "index": item["index"], "name": item["name"], "dtype": item["dtype"].__name__,
            "shape": item["shape"].tolist(), "shape_signature": item["shape_signature"].tolist(),
            "scales": [float(scale) for scale in quantization["scales"]],
            "zero_points": quantization["zero_points"].tolist(), "axis": quantization["quantized_dimension"],
        })
        try:
            view = interpreter.tensor(item["index"])()
        except ValueError:
            continue
        address = view.__array_interface__["data"][0]
        spans.append([item["index"], address, address + view.nbytes])
    ends = [[item["index"] for item in found] for found in
            (interpreter.get_input_details(), interpreter.get_output_details())]
    return {"tensors": tensors, "spans": spans, "inputs": ends[0], "outputs": ends[1]}

print(json.dumps({path: describe(path) for path in sys.argv[1:]}))
"""


@pytest.fixture(scope="session")
def ask_interpreter() -> Any:
    """Return a function: paths of .tflite files -> what the LiteRT interpreter says of each."""

    def ask(paths: Sequence[str]) -> dict[str, Any]:
        command = [sys.executable, "-c", ASK_INTERPRETER, *paths]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return ask


class FileBuilder:
    """Writes a .tflite file, one tensor and one operator at a time."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes, self.model.subgraphs, self.model.signatureDefs, self.model.metadata = [], [], [], []
        self.subgraph("main")

    def subgraph(self, name: str) -> int:
        """Start a subgraph; later calls name it by the number that is returned."""
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators, graph.inputs, graph.outputs = name, [], [], [], []
        self.model.subgraphs.append(graph)
        return len(self.model.subgraphs) - 1

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "int8",
        *,
        name: str = "",
        data: np.ndarray | bytes | None = None,
        scales: Sequence[float] = (),
        zero_points: Sequence[int] | None = None,
        axis: int = 0,
        graph: int = 0,
        **fields: Any,
    ) -> int:
        """Add a tensor and return its index; `fields` are further ones of the schema's TensorT."""
        tensor = schema.TensorT()
        tensors = self.model.subgraphs[graph].tensors
        tensor.name, tensor.shape, tensor.hasRank = name or f"t{len(tensors)}", list(shape), True
        tensor.type, tensor.buffer = getattr(schema.TensorType, dtype.upper()), 0
        if data is not None:
            tensor.buffer = self.buffer(data if isinstance(data, bytes) else data.tobytes())
        if scales:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.asarray(scales, np.float32)
            points = [0] * len(scales) if zero_points is None else zero_points
            tensor.quantization.zeroPoint = np.asarray(points, np.int64)
            tensor.quantization.quantizedDimension = axis
        for field, value in fields.items():
            setattr(tensor, field, value)
        tensors.append(tensor)
        return len(tensors) - 1

    def buffer(self, data: bytes) -> int:
        """Add a buffer and return its index."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        *,
        version: int = 1,
        graph: int = 0,
        **fields: Any,
    ) -> int:
        """Add an operator; `fields` are those of its builtin options class, or of OperatorT for a custom one."""
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        builtin = getattr(schema.BuiltinOperator, name, schema.BuiltinOperator.CUSTOM)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        code.customCode = name if builtin == schema.BuiltinOperator.CUSTOM else None
        operator.opcodeIndex = len(self.model.operatorCodes)
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if code.customCode is None:
            options = fields.pop("options", None)
            if options is not None:
                operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
                operator.builtinOptions = getattr(schema, f"{options}T")(**fields)
        else:
            for field, value in fields.items():
                setattr(operator, field, value)
        self.model.operatorCodes.append(code)
        self.model.subgraphs[graph].operators.append(operator)
        return len(self.model.subgraphs[graph].operators) - 1

    def signature(self, key: str, inputs: dict[str, int], outputs: dict[str, int], graph: int = 0) -> None:
        """Add a signature."""
        found = schema.SignatureDefT()
        found.signatureKey, found.subgraphIndex = key, graph
        found.inputs, found.outputs = ([_tensor_map(*pair) for pair in ends.items()] for ends in (inputs, outputs))
        self.model.signatureDefs.append(found)

    def metadata(self, name: str, data: bytes) -> None:
        """Add a metadata buffer."""
        found = schema.MetadataT()
        found.name, found.buffer = name, self.buffer(data)
        self.model.metadata.append(found)

    def build(self, inputs: Sequence[int] = (), outputs: Sequence[int] = ()) -> bytes:
        """Return the file, with the inputs and outputs of the main subgraph."""
        self.model.subgraphs[0].inputs, self.model.subgraphs[0].outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _tensor_map(name: str, index: int) -> Any:
    pair = schema.TensorMapT()
    pair.name, pair.tensorIndex = name, index
    return pair


@pytest.fixture
def file() -> FileBuilder:
    """An empty file to build on."""
    return FileBuilder()


@pytest.fixture
def small_file() -> bytes:
    """A real little network."""
    return build_small_file()


def build_small_file() -> bytes:
    """Return a quantised convolution and a dense layer, with signature and metadata."""
    file = FileBuilder()
    values = np.arange(-36, 36, dtype=np.int8)
    x = file.tensor([1, 4, 4, 2], name="x", scales=[0.5], zero_points=[-128])
    kernel = file.tensor([4, 3, 3, 2], name="kernel", data=values, scales=[0.1, 0.2, 0.3, 0.4])
    bias = file.tensor([4], "int32", name="bias", data=np.arange(4, dtype=np.int32), scales=[0.05, 0.1, 0.15, 0.2])
    hidden = file.tensor([1, 2, 2, 4], name="hidden", scales=[0.25], zero_points=[3])
    flat = file.tensor([1, 16], name="flat", scales=[0.25], zero_points=[3])
    shape = file.tensor([2], "int32", name="shape", data=np.array([1, 16], np.int32))
    dense = file.tensor([3, 16], name="dense", data=values[:48], scales=[0.01])
    y = file.tensor([1, 3], name="y", scales=[0.125], zero_points=[7])
    conv = {"strideW": 1, "strideH": 1, "fusedActivationFunction": schema.ActivationFunctionType.RELU6}
    file.operator("CONV_2D", [x, kernel, bias], [hidden], version=3, options="Conv2DOptions", padding=1, **conv)
    file.operator("RESHAPE", [hidden, shape], [flat], options="ReshapeOptions", newShape=[1, 16])
    file.operator("FULLY_CONNECTED", [flat, dense, -1], [y], version=4, options="FullyConnectedOptions")
    file.signature("serving_default", {"image": x}, {"label": y})
    file.metadata("min_runtime_version", b"2.3.0".ljust(16, b"\0"))
    return file.build([x], [y])
