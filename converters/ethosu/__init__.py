"""Arm Ethos-U: an accelerator whose compiler, Vela, comes from PyPI and runs anywhere.

It imports what a converter may.
"""

from __future__ import annotations

from ..accelerator import Accelerator, Wants
from .vela import VelaCompiler, VelaPredictor

RECIPE = {"quantize": "int8", "batch_size": 1, "edges": "int8"}


def accelerator(name: str) -> Accelerator:
    """Return the Ethos-U configuration `name`, such as "ethos-u55-128", as an accelerator."""
    compiler = VelaCompiler(name)
    wants = Wants(RECIPE, source="ethos-u-vela, SUPPORTED_OPS.md")
    return Accelerator(name, f"Arm {name.replace('ethos-u', 'Ethos-U')}", wants, compiler, VelaPredictor(compiler))
