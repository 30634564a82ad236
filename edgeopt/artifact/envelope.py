"""The one JSON envelope of every result, and how it is written.

Layout (``schema_version`` 1): ``schema_version``, ``tool`` {``name``, ``version``}, ``verdict`` ("ok", "missed",
"failed", "invalid"), then the verb's own fields at top level.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from .._version import __version__
from .atomic import write_atomically

SCHEMA_VERSION = 1


def envelope(verdict: str, fields: Mapping[str, object]) -> dict[str, object]:
    """Return `fields` inside the envelope that all verbs share.

    Example:
        >>> envelope("ok", {"size_bytes": 3})["size_bytes"]
        3
    """
    head = {"schema_version": SCHEMA_VERSION, "tool": {"name": "edgeopt", "version": __version__}, "verdict": verdict}
    return {**head, **fields}


def write_json(payload: Mapping[str, object], destination: str) -> None:
    """Write `payload` to the file `destination`, atomically, or to standard output when it is ``-``.

    Raises:
        OutputError: The destination cannot be written.
    """
    text = json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if destination == "-":
        sys.stdout.write(text)
    else:
        write_atomically(destination, text.encode())
