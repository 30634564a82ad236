"""A folder of images, a sub-folder per class, as `Pictures` with their labels."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .folder import SUFFIXES, Pictures, Preparation, list_folder

Array = npt.NDArray[Any]
# From the number of samples and their labels to the indices to use.
Choose = Callable[[int, "Array | None"], npt.NDArray[np.int64]]


class ImageFolder(NamedTuple):
    """Pictures, shape (pictures, height, width, channels); their labels, if there are sub-folders, and what they mean.

    Attributes:
        classes: The names of the classes, by number; empty without labels.
    """

    pictures: Pictures
    labels: npt.NDArray[np.int64] | None
    classes: tuple[str, ...]


def require_images(folder: Path) -> None:
    """Raise where no file below `folder` is called like an image; the search ends at the first.

    Raises:
        DataError: None is.
    """
    if not any(Path(file).suffix.lower() in SUFFIXES for _, _, files in os.walk(folder) for file in files):
        raise _no_images(folder)


def _no_images(folder: Path) -> DataError:
    kinds = ", ".join(sorted(SUFFIXES))
    return DataError(f"The folder {folder} holds no images ({kinds}); expected a sub-folder of them per class.")


def load_image_folder(folder: Path, prepared: Preparation, choose: Choose | None = None) -> ImageFolder:
    """Look at the images below `folder`; each sub-folder is a class, numbered in alphabetical order.

    Args:
        folder: Holds images, or one folder of images per class.
        prepared: How they become an input.
        choose: Which ones to read, from their number and labels; None reads all.

    Raises:
        DataError: No images, or one that is unreadable.
    """
    files, labels, classes = list_folder(folder)
    if not files:
        raise _no_images(folder)
    if choose is not None:
        chosen = choose(len(files), labels)
        files, labels = [files[index] for index in chosen], None if labels is None else labels[chosen]
    return ImageFolder(Pictures.read(files, prepared), labels, classes)
