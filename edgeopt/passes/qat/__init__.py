"""Quantisation-aware training: the int8 file of a trained model loses less than one that is only calibrated."""

from __future__ import annotations

from .qat import PRESERVE, Qat
from .report import QatReport, QatResult, QuantizedLayerReport, Reason
from .scope import qat_scope

__all__ = ["PRESERVE", "Qat", "QatReport", "QatResult", "QuantizedLayerReport", "Reason", "qat_scope"]
