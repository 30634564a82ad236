"""The Edge TPU: its compiler, what that compiler would map, and the files it makes.

It imports what a converter may.
"""

from __future__ import annotations

from ..accelerator import Accelerator, Wants
from .compiler import EdgeTpuCompiler
from .predict import EdgeTpuPredictor
from .rules import default_rules

# What the compiler wants of a .tflite file; fields of `edgeopt.recipes.convert.ConvertRecipe`.
RECIPE = {
    "quantize": "int8",
    "input_type": "uint8",
    "output_type": "uint8",
    "batch_size": 1,
    "per_tensor_dense": True,
    "edges": "int8",
}


def accelerator(name: str) -> Accelerator:
    """Return the Edge TPU as an accelerator."""
    wants = Wants(RECIPE, dict(default_rules().versions), "coral.ai/docs/edgetpu/models-intro")
    return Accelerator(name, "Coral Edge TPU", wants, EdgeTpuCompiler(), EdgeTpuPredictor())
