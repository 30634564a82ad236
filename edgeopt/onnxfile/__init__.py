"""Read-only view of an .onnx file: what goes in, what comes out, which operators. Needs the extra ``onnx``.

Imports `edgeopt.errors` and the specs of `edgeopt.flatbuffer`; no TensorFlow, and ``onnx`` when a file is read.
"""

from .reading import OnnxModel, is_onnx, read_onnx, require_onnx

__all__ = ["OnnxModel", "is_onnx", "read_onnx", "require_onnx"]
