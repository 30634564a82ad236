"""A model file as a whole: what is beside its configuration."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from ...errors import UnsafeModelError
from ..detect import ModelFile
from .configs import check_configuration
from .graphs import check_graphs


def check_file(file: ModelFile, keras: Any) -> None:
    """Refuse a model file that holds or names code other than Keras's own and the user's.

    Call it within the `custom_object_scope` of the user's objects.

    Args:
        file: The file, or a SavedModel that Keras is to load.
        keras: The Keras that is to load it.

    Raises:
        UnsafeModelError: It does.
        FileFormatError: It is damaged.
    """
    is_graph = not file.suffix
    check_configuration(json.loads(file.config_text), keras, file.path, revivable=is_graph)
    if is_graph:
        check_graphs(file.path)
    elif file.suffix == ".keras":
        _check_members(file.path)


def _check_members(path: Path) -> None:
    """tf_keras unpickles what is in a file of arrays."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith((".npz", ".npy"))]
    if names:
        raise UnsafeModelError(
            f"{path} holds its weights as {names[0][:100]!r}, which may hold pickled Python code; save the model again "
            "with its weights in HDF5, or pass --unsafe-load if you trust the file."
        )
