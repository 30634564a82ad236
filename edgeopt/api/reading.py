"""Reading a .tflite file that is given as a path, as bytes or as an artifact: once, whoever asks."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..artifact.artifact import Artifact
from ..errors import UsageError
from ..flatbuffer import Model, read_file, read_model

PathLike = str | os.PathLike[str]


class HasModel(Protocol):
    """Anything that carries the bytes of a .tflite file, such as an `edgeopt.Artifact`."""

    @property
    def model(self) -> bytes:
        """The whole file."""
        ...


@dataclass(frozen=True, eq=False)
class TFLiteFile:
    """A .tflite file, read and parsed.

    Attributes:
        data: Its bytes.
        model: What is in it.
        path: Where it was read from; None for bytes and artifacts.
        given: The artifact, if it was given as one.
    """

    data: bytes = field(repr=False)
    model: Model = field(repr=False)
    path: str | None = None
    given: Artifact | None = field(default=None, repr=False)

    @property
    def artifact(self) -> Artifact:
        """The file with its sidecar, which is read where one lies beside the path.

        Raises:
            FileFormatError: The sidecar is not JSON, or belongs to another file.
        """
        if self.given is not None:
            return self.given
        return Artifact(self.data) if self.path is None else Artifact.beside(self.path, self.data)


def read_tflite(source: Any, name: str = "The model") -> TFLiteFile:
    """Read a .tflite file through, and see that it is whole.

    Args:
        source: A path, the bytes of a file, an `edgeopt.Artifact`, or anything else with the bytes as `model`.
        name: What messages call a file without a path.

    Raises:
        UsageError: The path cannot be read, or `source` is something else.
        FileFormatError: The file is corrupt, or no .tflite file.
    """
    if isinstance(source, (str, os.PathLike)):
        content = read_file(source)
        return TFLiteFile(content, read_model(content, readable(source)), os.fspath(source))
    data = source.model if hasattr(source, "model") else source
    if not isinstance(data, bytes):
        raise UsageError(f"Received {type(source).__name__}, expected a path, bytes or an artifact; convert it first.")
    return TFLiteFile(data, read_model(data, name), given=source if isinstance(source, Artifact) else None)


def readable(path: PathLike) -> str:
    """Return a path as text that can be printed and written as JSON: a file name need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")
