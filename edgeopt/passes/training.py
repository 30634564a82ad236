"""Where the training's options were imported from before they had a room of their own: see `edgeopt.training`."""

from __future__ import annotations

from ..training import EarlyStop, Training, train

__all__ = ["EarlyStop", "Training", "train"]
