"""Which Keras a model file was written by, read from what is in the file, never by trying one and then the other."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..errors import FileFormatError, UsageError

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


class Flavour(str, Enum):
    """Who can load a model: Keras 3, Keras 2 (tf_keras), or TensorFlow alone (a SavedModel)."""

    KERAS3 = "keras"
    TF_KERAS = "tf_keras"
    SAVED_MODEL = "saved_model"


@dataclass(frozen=True)
class ModelFile:
    """A model file, the flavour that wrote it, and its architecture's JSON (empty for a SavedModel)."""

    path: Path
    flavour: Flavour
    config_text: str = ""


def detect(path: str | Path) -> ModelFile:
    """Read the head of a model file and say which flavour loads it.

    Raises:
        UsageError: The path does not exist.
        FileFormatError: The file is no Keras model, or holds weights only.

    Example:
        >>> detect("model.keras").flavour
        <Flavour.KERAS3: 'keras'>
    """
    file = Path(path)
    if not file.exists():
        raise UsageError(f"Model {file} does not exist; expected a .keras or .h5 file, or a SavedModel folder.")
    if file.is_dir():
        return _detect_folder(file)
    with file.open("rb") as stream:
        head = stream.read(8)
    if head == _HDF5_MAGIC:
        return _detect_hdf5(file)
    if head[:4] == b"PK\x03\x04":
        return _detect_zip(file)
    if head[4:8] == b"TFL3":
        raise FileFormatError(
            f"{file} is a .tflite file already; expected a Keras model (use `edgeopt inspect` on it)."
        )
    raise FileFormatError(f"{file} is not a Keras model; expected a .keras or .h5 file, or a SavedModel folder.")


def _detect_folder(folder: Path) -> ModelFile:
    if not (folder / "saved_model.pb").is_file():
        raise FileFormatError(
            f"The folder {folder} holds no saved_model.pb; expected a SavedModel, or a .keras or .h5 file."
        )
    return ModelFile(folder, Flavour.SAVED_MODEL)


def _detect_zip(file: Path) -> ModelFile:
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            if "config.json" not in names:
                raise FileFormatError(f"{file} is a zip file without config.json; expected a .keras model.")
            config = archive.read("config.json").decode()
            metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
            json.loads(config)
    except (zipfile.BadZipFile, UnicodeDecodeError, json.JSONDecodeError, EOFError) as error:
        raise FileFormatError(f"{file} is a damaged .keras file ({error}); save the model again.") from error
    return ModelFile(file, _flavour_of(str(metadata.get("keras_version", "")), config), config)


def _detect_hdf5(file: Path) -> ModelFile:
    import h5py

    try:
        with h5py.File(file, "r") as archive:
            attributes = dict(archive.attrs)
            has_weights = (
                "layer_names" in attributes or "layers" in archive or "_layer_checkpoint_dependencies" in archive
            )
    except OSError as error:
        raise FileFormatError(f"{file} is a damaged HDF5 file ({error}); save the model again.") from error
    config = attributes.get("model_config")
    if config is None:
        what = "the weights of a model only" if has_weights else "no Keras model"
        raise FileFormatError(
            f"{file} holds {what}; expected a whole model: save it with model.save(...), not save_weights(...)."
        )
    text = config.decode() if isinstance(config, bytes) else str(config)
    version = attributes.get("keras_version", "")
    return ModelFile(file, _flavour_of(version.decode() if isinstance(version, bytes) else str(version), text), text)


def _flavour_of(keras_version: str, config: str) -> Flavour:
    """Keras 3 writes its version, and `batch_shape` or a registered dtype policy; Keras 2 `batch_input_shape`."""
    major = keras_version.split(".")[0]
    if major == "3":
        return Flavour.KERAS3
    if major.isdigit():
        return Flavour.TF_KERAS
    if '"batch_input_shape"' in config:
        return Flavour.TF_KERAS
    return Flavour.KERAS3 if '"batch_shape"' in config else Flavour.TF_KERAS
