"""A folder of images, a sub-folder per class, as one array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import DataError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# name -> (scale, offset): pixel * scale + offset
SCALINGS = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}


def load_image_folder(
    folder: Path, size: tuple[int, int] | None, scaling: str
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64] | None, str]:
    """Read all images below `folder`; each sub-folder is a class, numbered in alphabetical order.

    Args:
        folder: Holds images, or one folder of images per class.
        size: (height, width) to resize to (bilinear); None takes the first image's size.
        scaling: What pixel values become: ``0..255``, ``0..1`` or ``-1..1``.

    Returns:
        Images as float32 of shape (samples, height, width, 3), or 1 channel when all are greyscale; labels of shape
        (samples,), or None without sub-folders; a note that says how pixels were prepared.

    Raises:
        DataError: No images, an unreadable image, or an unknown scaling.
    """
    if scaling not in SCALINGS:
        raise DataError(f"Unknown image scaling {scaling!r}; expected one of {', '.join(SCALINGS)}.")
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files = [(file, index) for index, name in enumerate(classes) for file in _images(folder / name)]
    labels = np.array([index for _, index in files], dtype=np.int64) if files else None
    if not files:
        files = [(file, 0) for file in _images(folder)]
    if not files:
        raise DataError(
            f"The folder {folder} holds no images ({', '.join(sorted(SUFFIXES))}); expected a sub-folder per class."
        )
    pixels = _read([file for file, _ in files], size)
    scale, offset = SCALINGS[scaling]
    images = pixels.astype(np.float32) * np.float32(scale) + np.float32(offset)
    height, width = images.shape[1:3]
    return images, labels, f"images resized to {height}x{width}, pixels scaled to {scaling}"


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def _read(files: list[Path], size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    images = []
    grey = True
    for file in files:
        try:
            with Image.open(file) as opened:
                grey = grey and opened.mode in ("1", "L")
                image = opened.convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"{file} is not a readable image ({error}); remove it or save it again.") from error
        size = size or (image.height, image.width)
        if (image.height, image.width) != size:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        images.append(np.asarray(image, dtype=np.uint8))
    stacked = np.stack(images)
    return stacked[..., :1] if grey else stacked
