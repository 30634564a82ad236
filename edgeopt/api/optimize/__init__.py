"""``edgeopt.optimize``: a recipe's passes in order, each stage exported and measured; imports what a workflow may."""

from __future__ import annotations

from .run import optimize

__all__ = ["optimize"]
