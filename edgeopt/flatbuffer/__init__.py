"""A read-only view of a .tflite file; needs no TensorFlow.

Example:
    >>> model = load_model("model_int8.tflite")
    >>> [operator.name for operator in model.main.operators]

This room imports errors only, and TensorFlow never.
"""

from __future__ import annotations

from .model import Model, Operator, Quantization, Signature, Subgraph, Tensor
from .reader import load_model, read_file, read_model

__all__ = [
    "Model",
    "Operator",
    "Quantization",
    "Signature",
    "Subgraph",
    "Tensor",
    "load_model",
    "read_file",
    "read_model",
]
