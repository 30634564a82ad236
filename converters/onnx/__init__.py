"""ONNX: a finished .tflite file becomes an .onnx file with its numbers, which onnxruntime runs.

Imports tf2onnx, onnx and onnxruntime, of the extra ``onnx``, inside functions.
"""

from .export import OnnxFile, export_onnx
from .running import onnx_outputs

__all__ = ["OnnxFile", "export_onnx", "onnx_outputs"]
