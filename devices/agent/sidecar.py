"""What the sidecar beside a file says of the model's own inputs and outputs; for use by hand, since a host knows it."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Dict

from .outside import loads
from .protocol import AgentError

ENDS = ("front", "back")
MARK = "edgeopt.ends"  # in the metadata of a file whose inputs or outputs are not its model's


def read_ends(model: str, asked: bool) -> Dict[str, Any]:
    """Return ``front`` and ``back`` of ``MODEL.json`` beside ``MODEL.tflite``, where the file has them.

    Args:
        model: The file.
        asked: Whether data of the model are to be run, and not of the file's own inputs by name.

    Raises:
        AgentError: It cannot be read, belongs to another file, or is needed and absent.
    """
    path = os.path.splitext(model)[0] + ".json"
    if not os.path.isfile(path):
        if asked and _is_marked(model):
            message = "%s does not take and give what its model does, and the sidecar %s that says how is absent"
            remedy = "copy it beside the file, or name the file's own inputs (--inputs NAME=X.npy) without --labels"
            raise AgentError("file", message % (model, path), remedy=remedy)
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


def _is_marked(model: str) -> bool:
    try:
        with open(model, "rb") as stream:
            return MARK.encode() in stream.read()
    except OSError:
        return False  # what it is that cannot be read is said where it is loaded
