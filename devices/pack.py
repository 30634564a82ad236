"""Packs the agent into one file, ``edgeopt-agent.pyz``, the same bytes everywhere."""

from __future__ import annotations

import io
import zipfile
from importlib import resources

AGENT_NAME = "edgeopt-agent.pyz"
_PACKAGE = "edgeopt_agent"
_SHEBANG = b"#!/usr/bin/env python3\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold

# Even Python 2 must be able to compile this, or it could not say what is wrong.
_MAIN = """\
import sys

if sys.version_info < (3, 7):
    sys.exit("edgeopt-agent needs Python 3.7 or later, but this is Python %d.%d; start it with a newer python3"
             % sys.version_info[:2])

from edgeopt_agent.main import main

sys.exit(main(sys.argv[1:]))
"""


def agent_sources() -> dict[str, bytes]:
    """Return the agent's modules as name -> source, by name.

    Example:
        >>> "protocol.py" in agent_sources()
        True
    """
    folder = resources.files(__package__) / "agent"
    found = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(".py")}
    return dict(sorted(found.items()))


def pack_agent() -> bytes:
    """Return the bytes of the .pyz: only the sources decide on them, not the time, the machine or its zlib."""
    buffer = io.BytesIO()
    buffer.write(_SHEBANG)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry("__main__.py"), _MAIN)
        for name, source in agent_sources().items():
            archive.writestr(_entry(f"{_PACKAGE}/{name}"), source)
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.create_system = 3  # Unix, also when packed elsewhere
    entry.external_attr = 0o644 << 16
    return entry
