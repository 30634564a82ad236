"""A converted model with its sidecar: provenance, whole writes, the JSON envelope.

This room imports the light rooms, never TensorFlow. `Artifact` is loaded when it is asked for: the command line needs
the room for its temporary files before it knows its verb.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Artifact"]


def __getattr__(name: str) -> Any:
    if name != "Artifact":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .artifact import Artifact

    return Artifact
