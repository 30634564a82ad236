"""A model file as a whole: what is beside its configuration."""

from __future__ import annotations

import json
from typing import Any

from ..detect import ModelFile
from .configs import check_configuration, check_sizes
from .graphs import check_graphs
from .storage import check_archive, check_hdf5


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
    config = json.loads(file.config_text)
    check_configuration(config, keras, file.path, revivable=is_graph)
    if is_graph:
        check_graphs(file.path)
        return
    values = check_archive(file.path) if file.suffix == ".keras" else check_hdf5(file.path, file.path)
    check_sizes(config, values, file.path)
