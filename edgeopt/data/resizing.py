"""Resizing a picture as TensorFlow does, in NumPy: the same values whether or not TensorFlow is loaded.

Each method is what ``tf.image.resize`` does with half-pixel centres, and `edgeopt.recipes.convert.IMAGE_RESIZES` says
which. TensorFlow's kernels (``resize_bilinear_op``, ``resize_bicubic_op``, ``resize_area_op``,
``scale_and_translate_op``) are the source of the formulas. The results agree with them within a few roundings of
float32, which the tests state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
# For each output position: which input positions it is made of, and their weights; both (out, taps).
Taps = tuple[npt.NDArray[np.int64], Floats]

_TABLE = 1024  # entries of the bicubic kernel's table in TensorFlow


def resize(image: Array, size: tuple[int, int], method: str) -> Array:
    """Return a picture in another size.

    Args:
        image: Shape (height, width, channels), any real type.
        size: (height, width) of the result.
        method: A key of `edgeopt.recipes.convert.IMAGE_RESIZES`.

    Returns:
        float32, or the type of `image` where its values are kept as they are ("nearest", or nothing to do).

    Example:
        >>> resize(np.array([[[0], [255]]], np.uint8), (1, 4), "bilinear").ravel()
        array([  0.  ,  63.75, 191.25, 255.  ], dtype=float32)
    """
    if image.shape[:2] == size:
        return image
    if method == "crop":
        return _bilinear(_cropped(image, size), size)
    if method == "letterbox":
        return _letterboxed(image, size)
    if method == "bilinear":
        return _bilinear(image, size)
    if method == "nearest":
        rows, columns = (_nearest(own, asked) for own, asked in zip(image.shape, size, strict=False))
        return image[rows][:, columns]
    (rows, down), (columns, across) = (_taps(own, asked, method) for own, asked in zip(image.shape, size, strict=False))
    return _weighted(_weighted(image, rows, down).swapaxes(0, 1), columns, across).swapaxes(0, 1)


def _weighted(image: Array, positions: npt.NDArray[np.int64], weights: Floats) -> Floats:
    """Sum up the taps along the first axis."""
    total = np.zeros((len(positions), *image.shape[1:]), np.float32)
    for tap in range(positions.shape[1]):
        total += weights[:, tap, np.newaxis, np.newaxis] * image[positions[:, tap]].astype(np.float32)
    return total


def _bilinear(image: Array, size: tuple[int, int]) -> Floats:
    """Interpolate first along the rows, then between them, in TensorFlow's order."""
    above, below, down = _neighbours(image.shape[0], size[0])
    left, right, across = _neighbours(image.shape[1], size[1])

    def between(rows: npt.NDArray[np.int64]) -> Floats:
        taken = image[rows]
        start = taken[:, left].astype(np.float32)
        return start + (taken[:, right].astype(np.float32) - start) * across[np.newaxis, :, np.newaxis]

    top = between(above)
    return np.asarray(top + (between(below) - top) * down[:, np.newaxis, np.newaxis], np.float32)


@lru_cache(maxsize=256)
def _neighbours(own: int, asked: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Return the two pixels that each output lies between, and how far it is from the first."""
    place = _places(own, asked) - np.float32(0.5)
    low = np.floor(place)
    first, second = np.maximum(low, 0), np.minimum(np.ceil(place), own - 1)
    return first.astype(np.int64), second.astype(np.int64), (place - low).astype(np.float32)


@lru_cache(maxsize=256)
def _nearest(own: int, asked: int) -> npt.NDArray[np.int64]:
    return np.minimum(np.floor(_places(own, asked)), own - 1).astype(np.int64)


def _places(own: int, asked: int) -> Floats:
    """The centre of each output pixel, in input pixels; float32 throughout, as in TensorFlow."""
    scale = np.float32(own) / np.float32(asked)
    return np.asarray((np.arange(asked, dtype=np.float32) + np.float32(0.5)) * scale, np.float32)


@lru_cache(maxsize=256)
def _taps(own: int, asked: int, method: str) -> Taps:
    if method == "bicubic":
        return _bicubic(own, asked)
    if method == "area":
        return _area(own, asked)
    if method == "lanczos":
        return _spans(own, asked, _lanczos, 3, antialias=False)
    return _spans(own, asked, _triangle, 1, antialias=True)


def _bicubic(own: int, asked: int) -> Taps:
    """Keys' kernel with a = -1/2, at one of 1024 steps; pixels outside count nothing."""
    place = _places(own, asked) - np.float32(0.5)
    low = np.floor(place)
    step = np.rint((place - low) * np.float32(_TABLE)) / _TABLE
    distance = np.stack([1 + step, step, 1 - step, 2 - step], axis=1)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    positions = low.astype(np.int64)[:, np.newaxis] + np.arange(-1, 3)
    inside = (positions >= 0) & (positions < own)
    return _normalised(positions, np.where(distance <= 1, near, far) * inside, own)


def _area(own: int, asked: int) -> Taps:
    """The share of each input pixel that lies below the output pixel."""
    scale = np.float32(own) / np.float32(asked)
    start = np.arange(asked, dtype=np.float32) * scale
    end = np.arange(1, asked + 1, dtype=np.float32) * scale
    first = np.floor(start).astype(np.int64)
    positions = first[:, np.newaxis] + np.arange(int((np.ceil(end) - first).max()))
    overlap = np.minimum(positions + 1, end[:, np.newaxis]) - np.maximum(positions, start[:, np.newaxis])
    return np.clip(positions, 0, own - 1), (np.maximum(overlap, 0) / scale).astype(np.float32)


def _spans(own: int, asked: int, kernel: Callable[[Array], Array], radius: int, *, antialias: bool) -> Taps:
    """A kernel around each output's place; with antialiasing, as wide as an output pixel."""
    place = _places(own, asked).astype(np.float64)
    width = max(own / asked, 1.0) if antialias else 1.0
    first = np.maximum(np.ceil(place - radius * width - 0.5), 0).astype(np.int64)
    last = np.minimum(np.floor(place + radius * width - 0.5), own - 1).astype(np.int64)
    positions = first[:, np.newaxis] + np.arange(int((last - first).max()) + 1)
    weights = kernel(np.abs(positions + 0.5 - place[:, np.newaxis]) / width) * (positions <= last[:, np.newaxis])
    return _normalised(positions, weights, own)


def _triangle(distance: Array) -> Array:
    return np.maximum(1 - distance, 0)


def _lanczos(distance: Array) -> Array:
    return np.asarray(np.sinc(distance) * np.sinc(distance / 3) * (distance <= 3))


def _normalised(positions: npt.NDArray[np.int64], weights: Array, own: int) -> Taps:
    weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(positions, 0, own - 1), weights.astype(np.float32)


def _cropped(image: Array, size: tuple[int, int]) -> Array:
    """Return the middle of the picture that has the aspect ratio of `size`."""
    height, width = image.shape[:2]
    kept_height = max(min(height, int(width * size[0] / size[1])), 1)
    kept_width = max(min(width, int(height * size[1] / size[0])), 1)
    top, left = int((height - kept_height) / 2), int((width - kept_width) / 2)
    return image[top : top + kept_height, left : left + kept_width]


def _letterboxed(image: Array, size: tuple[int, int]) -> Floats:
    """Return the whole picture, as large as it fits, in the middle of black; in float32, as in TensorFlow."""
    own = [np.float32(length) for length in image.shape[:2]]
    ratio = max(length / np.float32(asked) for length, asked in zip(own, size, strict=True))
    exact = [length / ratio for length in own]
    height, width = (max(1, math.floor(length)) for length in exact)
    top, left = (max(0, math.floor((asked - length) / 2)) for asked, length in zip(size, exact, strict=True))
    framed = np.zeros((*size, image.shape[2]), np.float32)
    inner = image if image.shape[:2] == (height, width) else _bilinear(image, (height, width))
    framed[top : top + height, left : left + width] = inner
    return framed
