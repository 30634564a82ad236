"""A folder of images, a sub-folder per class, as one array."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..recipes.convert import IMAGE_SCALINGS

Array = npt.NDArray[Any]
# From the number of samples and their labels to the indices to use.
Choose = Callable[[int, "Array | None"], npt.NDArray[np.int64]]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, what Pillow's mode L computes


def load_image_folder(
    folder: Path, size: tuple[int, int] | None, scaling: str, choose: Choose | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | None, str]:
    """Read the images below `folder`; each sub-folder is a class, numbered in alphabetical order.

    Args:
        folder: Holds images, or one folder of images per class.
        size: (height, width) to resize to (bilinear); None takes the first image's size.
        scaling: What pixel values become: ``0..255``, ``0..1`` or ``-1..1``.
        choose: Which ones to read, from their number and labels; None reads all.

    Returns:
        Images of shape (samples, height, width, 3), or 1 channel when all are greyscale; labels of shape (samples,), or
        None without sub-folders; a note that says how pixels were prepared.

    Raises:
        DataError: No images, an unreadable image, or an unknown scaling.
    """
    if scaling not in IMAGE_SCALINGS:
        raise DataError(f"Unknown image scaling {scaling!r}; expected one of {', '.join(IMAGE_SCALINGS)}.")
    files, labels = _listed(folder)
    if not files:
        kinds = ", ".join(sorted(SUFFIXES))
        raise DataError(f"The folder {folder} holds no images ({kinds}); expected a sub-folder of them per class.")
    if choose is not None:
        chosen = choose(len(files), labels)
        files, labels = [files[index] for index in chosen], None if labels is None else labels[chosen]
    pixels = _read(files, size)
    scale, offset = IMAGE_SCALINGS[scaling]
    images = pixels.astype(np.float32) * np.float32(scale) + np.float32(offset)
    height, width = images.shape[1:3]
    return images, labels, f"images resized to {height}x{width}, pixels scaled to {scaling}"


def fit_channels(images: Array, channels: int | None) -> Array:
    """Return images of shape (samples, height, width, c) with `channels`: grey repeated as RGB, RGB weighted to grey.

    Anything else is returned as it is.
    """
    own = images.shape[-1]
    if (own, channels) == (1, 3):
        return np.repeat(images, 3, axis=-1)
    if (own, channels) == (3, 1):
        return np.asarray(images @ np.asarray(_LUMA, images.dtype))[..., np.newaxis]
    return images


def _listed(folder: Path) -> tuple[list[Path], npt.NDArray[np.int64] | None]:
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    labelled = [(file, index) for index, name in enumerate(classes) for file in _images(folder / name)]
    if labelled:
        return [file for file, _ in labelled], np.array([index for _, index in labelled], dtype=np.int64)
    return _images(folder), None


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def _read(files: list[Path], size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    from PIL import Image

    images = []
    grey = True
    for file in files:
        try:
            with Image.open(file) as opened:
                grey = grey and opened.mode in ("1", "L")
                image = opened.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{file} is not a readable image ({error}); remove it or save it again.") from error
        size = size or (image.height, image.width)
        if (image.height, image.width) != size:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        images.append(np.asarray(image, dtype=np.uint8))
    stacked = np.stack(images)
    return stacked[..., :1] if grey else stacked
