"""What the sidecar beside a file says of the model's own inputs and outputs; for use by hand, since a host knows it."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Dict

from .outside import loads
from .protocol import AgentError

ENDS = ("front", "back")


def read_ends(model: str) -> Dict[str, Any]:
    """Return ``front`` and ``back`` of ``MODEL.json`` beside ``MODEL.tflite``, where the file has them.

    Raises:
        AgentError: It cannot be read, or belongs to another file.
    """
    path = os.path.splitext(model)[0] + ".json"
    if not os.path.isfile(path):
        return {}
    try:
        with open(path, encoding="utf-8") as stream:
            found = loads(stream.read())
        with open(model, "rb") as stream:
            digest = hashlib.sha256(stream.read()).hexdigest()
    except (OSError, ValueError) as error:
        raise AgentError("file", "the sidecar %s cannot be read: %s" % (path, error)) from error
    tool = found.get("tool") if isinstance(found, dict) else None
    if not isinstance(tool, dict) or tool.get("name") != "edgeopt":
        return {}
    if found.get("sha256") not in (None, digest):
        raise AgentError("file", "the sidecar %s belongs to another file; copy the one of this file, or none" % path)
    return {name: found[name] for name in ENDS if isinstance(found.get(name), dict)}
