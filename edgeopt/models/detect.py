"""Which Keras a model file was written by, read from what is in the file, never by trying one and then the other."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..artifact.npz import ZIP_DAMAGE
from ..errors import FileFormatError, UsageError, one_line
from .hdf5 import MAGIC as HDF5_MAGIC
from .hdf5 import read_head

_MAX_CONFIG = 64 * 2**20  # bytes of JSON: a vocabulary of a million words fits
_EXPECTED = "expected a .keras or .h5 file, or a SavedModel folder"


class Flavour(str, Enum):
    """Who can load a model: Keras 3, Keras 2 (tf_keras), or TensorFlow alone (a SavedModel)."""

    KERAS3 = "keras"
    TF_KERAS = "tf_keras"
    SAVED_MODEL = "saved_model"

    @property
    def modules(self) -> tuple[str, ...]:
        """What a process that loads such a model imports, where that takes long."""
        return ("tensorflow",) if self is Flavour.SAVED_MODEL else ("tensorflow", self.value)


@dataclass(frozen=True)
class ModelFile:
    """A model file.

    Attributes:
        path: Where it lies.
        flavour: Who wrote it.
        config_text: Its architecture as JSON; empty for a SavedModel.
        suffix: ``.h5`` or ``.keras``, by what it holds and whatever it is called; empty for a SavedModel.
    """

    path: Path
    flavour: Flavour
    config_text: str = ""
    suffix: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, str]) -> ModelFile:
        """Return the file whose fields crossed to another process as JSON."""
        return cls(Path(values["path"]), Flavour(values["flavour"]), values["config_text"], values["suffix"])


def detect(path: str | Path) -> ModelFile:
    """Read the head of a model file and say which flavour loads it.

    Raises:
        UsageError: The path does not exist or cannot be read.
        FileFormatError: The file is no Keras model, is damaged, or holds weights only.

    Example:
        >>> detect("model.keras").flavour
        <Flavour.KERAS3: 'keras'>
    """
    file = Path(path)
    if not file.exists():
        raise UsageError(f"Model {file} does not exist; {_EXPECTED}.")
    if file.is_dir():
        return _detect_folder(file)
    try:
        with file.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise UsageError(f"Cannot read the model {file}: {error.strerror}.") from error
    if head == HDF5_MAGIC:
        return _detect_hdf5(file)
    if head[:4] == b"PK\x03\x04":
        return _detect_zip(file)
    if head[4:8] == b"TFL3":
        raise FileFormatError(f"{file} is a .tflite file already; expected a Keras model (`edgeopt inspect` reads it).")
    raise FileFormatError(f"{file} is not a Keras model; {_EXPECTED}.")


def _detect_folder(folder: Path) -> ModelFile:
    if not (folder / "saved_model.pb").is_file():
        raise FileFormatError(f"The folder {folder} holds no saved_model.pb; {_EXPECTED}.")
    return ModelFile(folder, Flavour.SAVED_MODEL)


def _detect_zip(file: Path) -> ModelFile:
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            if "config.json" not in names:
                raise FileFormatError(f"{file} is a zip file without config.json; {_EXPECTED}.")
            for name in names & {"config.json", "metadata.json"}:
                _check_size(file, archive.getinfo(name).file_size)
            config = archive.read("config.json").decode()
            metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
    except FileFormatError:
        raise
    except (*ZIP_DAMAGE, RecursionError) as error:
        raise _damaged(file, "zip", error) from error
    version = metadata.get("keras_version", "") if isinstance(metadata, dict) else ""
    return ModelFile(file, _flavour_of(str(version), config), _checked(config, file), ".keras")


def _detect_hdf5(file: Path) -> ModelFile:
    head = read_head(file)
    if not head.config:
        what = "the weights of a model only" if head.weights else "no Keras model"
        raise FileFormatError(
            f"{file} holds {what}; expected a whole model: save it with model.save(...), not save_weights(...)."
        )
    return ModelFile(file, _flavour_of(head.version, head.config), _checked(head.config, file), ".h5")


def _check_size(file: Path, size: int) -> None:
    if size > _MAX_CONFIG:
        raise FileFormatError(f"{file} holds a configuration of {size} bytes; expected at most {_MAX_CONFIG}.")


def _checked(config: str, file: Path) -> str:
    _check_size(file, len(config))
    try:
        json.loads(config)
    except (ValueError, RecursionError) as error:
        raise _damaged(file, "Keras", error) from error
    return config


def _damaged(file: Path, kind: str, error: Exception) -> FileFormatError:
    return FileFormatError(f"{file} is a damaged {kind} file ({one_line(error)}); save the model again.")


def _flavour_of(keras_version: str, config: str) -> Flavour:
    """Keras 3 writes its version, and `batch_shape` or a registered dtype policy; Keras 2 `batch_input_shape`."""
    major = keras_version.split(".")[0]
    if major.isascii() and major.isdigit() and len(major) < 5:
        return Flavour.KERAS3 if int(major) >= 3 else Flavour.TF_KERAS
    if '"batch_input_shape"' in config:
        return Flavour.TF_KERAS
    return Flavour.KERAS3 if '"batch_shape"' in config else Flavour.TF_KERAS


# edgeopt.passes.qat.layers puts the first behind every input; the others are TFMOT's.
_OWN = "QuantizedTensor"


_TFMOT = ("QuantizeLayer", "QuantizeWrapper", "QuantizeWrapperV2")


_IN_FILE = re.compile(rf'"class_name":\s*"(?:\w+>)?({"|".join((_OWN, *_TFMOT))})"')


def carries_ranges(layers: Sequence[tuple[str, str]]) -> bool:
    """Whether a model with these layers (name, class) needs no calibration, and takes no other quantisation."""
    return any(kind == _OWN or kind in _TFMOT for _, kind in layers)


def wrappers_in(config_text: str) -> str:
    """Return who made the quantised layers in the configuration of a model file: ``edgeopt``, ``tfmot`` or ""."""
    found = _IN_FILE.search(config_text)
    if found is None:
        return ""
    return "edgeopt" if found.group(1) == _OWN else "tfmot"
