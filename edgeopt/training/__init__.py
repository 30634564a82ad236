"""The one training loop behind every pass: options, data feed, losses, checkpoints, teachers.

This room imports models and data, never passes.
"""

from __future__ import annotations

from .context import PassContext
from .distillation import Distillation
from .loop import train
from .options import EarlyStop, Training

__all__ = ["Distillation", "EarlyStop", "PassContext", "Training", "train"]
