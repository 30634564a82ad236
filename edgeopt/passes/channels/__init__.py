"""Structured removal of filters and neurons, with everything that depends on them.

It imports what a pass may.
"""

from __future__ import annotations

from .labels import Reason
from .pruning import ChannelPruning
from .report import ChannelReport, GroupChange, LatencyFigures

__all__ = ["ChannelPruning", "ChannelReport", "GroupChange", "LatencyFigures", "Reason"]
