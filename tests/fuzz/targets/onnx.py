"""What is read of an .onnx file before a runtime gets it; needs the package ``onnx``."""

from __future__ import annotations

import json
from collections.abc import Mapping

import onnx

from edgeopt.api.reading import read_any

from ..readers import Reader


def _seeds() -> Mapping[str, bytes]:
    """A Relu of an open batch, and a Gemm between QuantizeLinear and DequantizeLinear, as an int8 file has it."""
    make, float32, int8 = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT8
    x, y = (make.make_tensor_value_info(name, float32, ["batch", 3]) for name in ("x", "y"))
    held = [
        make.make_tensor("scale", float32, [], [0.5]),
        make.make_tensor("zero", int8, [], [-3]),
        make.make_tensor("w", int8, [3, 3], range(9)),
    ]
    nodes = [
        make.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        make.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        make.make_node("DequantizeLinear", ["w", "scale", "zero"], ["v"]),
        make.make_node("Gemm", ["d", "v"], ["y"], transB=1),
    ]
    graphs = {
        "relu": make.make_graph([make.make_node("Relu", ["x"], ["y"])], "g", [x], [y]),
        "qdq": make.make_graph(nodes, "g", [x], [y], held),
    }
    opset = [make.make_opsetid("", 17)]
    return {
        name: make.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
        for name, graph in graphs.items()
    }


def _read(data: bytes) -> None:
    found = read_any(data)
    json.dumps([[end.name, end.dtype, end.shape, end.signature] for end in (*found.inputs, *found.outputs)])


READERS = {"onnx": Reader(_read, _seeds, ("edgeopt/onnxfile/reading.py",))}
