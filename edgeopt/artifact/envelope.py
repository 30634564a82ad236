"""The one JSON envelope of every result, and how it is written.

Layout (``schema_version`` 1): ``schema_version``, ``tool`` {``name``, ``version``}, ``kind`` (which result it is, as
`edgeopt.schemas` lists them), ``verdict`` ("ok", "missed", "failed", "invalid"), then its own fields at top level.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from .._version import __version__
from .atomic import write_atomically

SCHEMA_VERSION = 1


def envelope(kind: str, verdict: str, fields: Mapping[str, object]) -> dict[str, object]:
    """Return `fields` inside the envelope that all verbs share.

    Example:
        >>> envelope("convert", "ok", {"size_bytes": 3})["size_bytes"]
        3
    """
    tool = {"name": "edgeopt", "version": __version__}
    return {"schema_version": SCHEMA_VERSION, "tool": tool, "kind": kind, "verdict": verdict, **fields}


def as_text(payload: Mapping[str, object]) -> str:
    """Return a result as it is written."""
    return _dumped(payload) + "\n"


def _dumped(payload: Mapping[str, object]) -> str:
    """Return the JSON of a result; the tests hold every one against its schema here."""
    return json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False)


def write_json(payload: Mapping[str, object], destination: str) -> None:
    """Write the result `payload` to the file `destination`, atomically, or to standard output when it is ``-``.

    Raises:
        OutputError: The destination cannot be written.
    """
    text = as_text(payload)
    if destination == "-":
        sys.stdout.write(text)
    else:
        write_atomically(destination, text.encode())
