"""Quantisation-aware training: the int8 file of a trained model loses less than one that is only calibrated.

It imports what a pass may.
"""

from __future__ import annotations

from .qat import PRESERVE, Qat
from .report import QatReport, QuantizedLayerReport, Reason
from .scope import qat_scope

__all__ = ["PRESERVE", "Qat", "QatReport", "QuantizedLayerReport", "Reason", "qat_scope"]
