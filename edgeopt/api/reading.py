"""Reading a .tflite or .onnx file that is given as a path, as bytes or as an artifact: once, whoever asks."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..artifact.artifact import Artifact
from ..artifact.contract import Contract
from ..errors import UsageError
from ..flatbuffer import Model, read_file, read_model
from ..flatbuffer.specs import TensorSpec, input_specs, output_specs
from ..onnxfile import OnnxModel, is_onnx, read_onnx

PathLike = str | os.PathLike[str]

_COMPILED = ("_edgetpu", "_vela")  # what compilers put behind a file's name


class HasModel(Protocol):
    """Anything that carries the bytes of a .tflite file, such as an `edgeopt.Artifact`."""

    @property
    def model(self) -> bytes:
        """The whole file."""
        ...


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A .tflite or an .onnx file, read and parsed.

    Attributes:
        data: Its bytes.
        model: What is in it.
        path: Where it was read from; None for bytes and artifacts.
        given: The artifact, if it was given as one.
    """

    data: bytes = field(repr=False)
    model: Model | OnnxModel = field(repr=False)
    path: str | None = None
    given: Artifact | None = field(default=None, repr=False)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Its inputs, in its order."""
        return self.model.inputs if isinstance(self.model, OnnxModel) else input_specs(self.model)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Its outputs, in its order."""
        return self.model.outputs if isinstance(self.model, OnnxModel) else output_specs(self.model)

    @property
    def artifact(self) -> Artifact:
        """The file with its sidecar, which is read where one lies beside the path.

        Raises:
            FileFormatError: The sidecar is not JSON, or belongs to another file.
        """
        if self.given is not None:
            return self.given
        return Artifact(self.data) if self.path is None else Artifact.beside(self.path, self.data)

    @property
    def contract(self) -> Contract:
        """How the model's own inputs and outputs become the file's; of a compiled file, as of what it was made from.

        Raises:
            FileFormatError: As `artifact`.
        """
        own = self.artifact
        if own.sidecar or self.path is None:
            return own.contract
        path = Path(self.path)
        for suffix in _COMPILED:
            source = path.with_name(f"{path.stem.removesuffix(suffix)}.tflite")
            if path.stem.endswith(suffix) and source.is_file():
                plain = read_tflite(source)
                if plain.names == self.names:
                    return plain.artifact.contract
        return own.contract

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """Names of its inputs, and of its outputs."""
        return tuple(tuple(spec.name for spec in specs) for specs in (self.inputs, self.outputs))


@dataclass(frozen=True, eq=False)
class TFLiteFile(ModelFile):
    """A .tflite file."""

    model: Model = field(repr=False)


def read_tflite(source: Any, name: str = "The model") -> TFLiteFile:
    """Read a .tflite file through, and see that it is whole.

    Args:
        source: A path, the bytes of a file, an `edgeopt.Artifact`, or anything else with the bytes as `model`.
        name: What messages call a file without a path.

    Raises:
        UsageError: The path cannot be read, or `source` is something else, such as an .onnx file.
        FileFormatError: The file is corrupt, or no .tflite file.
    """
    found = read_any(source, name)
    if not isinstance(found, TFLiteFile):
        raise UsageError(
            f"{name if found.path is None else readable(found.path)} is an .onnx file, and a .tflite file is expected; "
            "its sidecar says what is in it, and validate and bench run it."
        )
    return found


def read_any(source: Any, name: str = "The model") -> ModelFile:
    """Read a .tflite or an .onnx file through; as `read_tflite`."""
    if isinstance(source, (str, os.PathLike)):
        data, path, name, given = _content(source), os.fspath(source), readable(source), None
    else:
        data, path = source.model if hasattr(source, "model") else source, None
        given = source if isinstance(source, Artifact) else None
    if not isinstance(data, bytes):
        raise UsageError(f"Received {type(source).__name__}, expected a path, bytes or an artifact; convert it first.")
    if is_onnx(data):
        return ModelFile(data, read_onnx(data, name), path, given)
    return TFLiteFile(data, read_model(data, name), path, given)


def _content(path: PathLike) -> bytes:
    """Return the bytes of a file of either format; one of another kind is refused before it is read whole."""
    with contextlib.suppress(OSError), open(path, "rb") as stream:  # `read_file` says why it cannot be read
        if is_onnx(head := stream.read(8)):
            return head + stream.read()
    return read_file(path)


def readable(path: PathLike) -> str:
    """Return a path as text that can be printed and written as JSON: a file name need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")
