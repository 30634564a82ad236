"""How a folder of images is read by the verbs that take a file: as asked, or else as the file's calibration was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..artifact.artifact import Artifact
from ..data.folder import Preparation


def sidecar_table(artifact: Artifact, name: str) -> Mapping[str, Any]:
    """Return a table of the sidecar, empty where there is none."""
    table = artifact.sidecar.get(name)
    return table if isinstance(table, Mapping) else {}


def image_options(
    artifact: Artifact, size: tuple[int, int] | None = None, scaling: str | None = None, resize: str | None = None
) -> dict[str, Any]:
    """Return the arguments of `edgeopt.data.load_dataset` that say how images are read.

    Args:
        artifact: The file, with its sidecar.
        size: (height, width); None takes that of the calibration images, or else the first image's.
        scaling: Of pixel values; None takes the sidecar's, or else ``0..255``.
        resize: How images are resized; None takes the sidecar's, or else ``bilinear``.

    Raises:
        DataError: An unknown name, whatever the data are.
    """
    images, recipe = sidecar_table(artifact, "images"), sidecar_table(artifact, "recipe")
    known = images.get("size") or recipe.get("image_size")
    found = Preparation(
        size if size is not None or known is None else tuple(known),
        scaling or recipe.get("image_scaling", "0..255"),
        resize or recipe.get("image_resize", "bilinear"),
    )
    return {"image_size": found.size, "image_scaling": found.scaling, "image_resize": found.resize}
