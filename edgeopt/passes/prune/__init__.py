"""Pruning by magnitude with TFMOT, on models of both flavours; imports what a pass may."""

from __future__ import annotations

from .prune import Prune

__all__ = ["Prune"]
