"""Weight clustering by TFMOT, on models of both flavours; imports what a pass may."""

from __future__ import annotations

from .cluster import Cluster

__all__ = ["Cluster"]
