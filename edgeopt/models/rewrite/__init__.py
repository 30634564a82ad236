"""Exact rewrites of Keras models: the same outputs from fewer and plainer layers.

Nested models become their layers, bare operations become layers where one computes the same, and layers that only
scale and shift are folded into a convolution or Dense layer beside them. What cannot be done exactly stays, with the
reason.

It imports what `edgeopt.models` may.
"""

from __future__ import annotations

from .changes import Change, Left
from .proof import Proof, check_reloaded, prove
from .rewriting import Rewritten, plan, rewrite

__all__ = ["Change", "Left", "Proof", "Rewritten", "check_reloaded", "plan", "prove", "rewrite"]
