"""A converted model with its sidecar: provenance, whole writes, the JSON envelope.

This room imports the light rooms, never TensorFlow.
"""

from __future__ import annotations

from .artifact import Artifact

__all__ = ["Artifact"]
