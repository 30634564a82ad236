"""Where an artifact came from: fingerprints of model files, versions of the tools."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path

from .._version import __version__

_TOOLS = ("tensorflow", "keras", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy")
_BLOCK = 1 << 20


def model_fingerprint(path: str | os.PathLike[str]) -> str | None:
    """Return the SHA-256 of a model file, or of the names and contents of a folder's files in order; None if absent."""
    root = Path(path)
    if root.is_file():
        return _file_digest(root).hexdigest()
    if not root.is_dir():
        return None
    whole = hashlib.sha256()
    for file in sorted(item for item in root.rglob("*") if item.is_file()):
        whole.update(file.relative_to(root).as_posix().encode() + b"\0" + _file_digest(file).digest())
    return whole.hexdigest()


def tool_versions() -> dict[str, str]:
    """Return the installed versions of edgeopt, Python and the packages that decide over the bytes; imports none."""
    versions = {"edgeopt": __version__, "python": platform.python_version()}
    for name in _TOOLS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _file_digest(file: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest
