"""A folder of pictures as an array that is decoded where it is looked at, so that its size is no matter."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, nearest
from ..recipes.convert import IMAGE_RESIZES, IMAGE_SCALINGS
from .decoding import Header, decode, decoder_names, read_header
from .resizing import resize

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# Up to so many bytes of float32 a folder is kept in memory once it was read; above, it is decoded again each time.
KEPT_BYTES = 1 << 28


@dataclass(frozen=True)
class Preparation:
    """How pictures become an input.

    Attributes:
        size: (height, width); None takes the first picture's.
        scaling: What pixel values become: a key of `IMAGE_SCALINGS`.
        resize: How they are resized: a key of `IMAGE_RESIZES`.

    Raises:
        DataError: An unknown name.
    """

    size: tuple[int, int] | None = None
    scaling: str = "0..255"
    resize: str = "bilinear"

    def __post_init__(self) -> None:
        if self.scaling not in IMAGE_SCALINGS:
            raise DataError(f"Unknown image scaling {self.scaling!r}; expected one of {', '.join(IMAGE_SCALINGS)}.")
        if self.resize not in IMAGE_RESIZES:
            raise DataError(f"Unknown image resize {self.resize!r}{nearest(self.resize, IMAGE_RESIZES)}")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures, decoded where they are looked at; indexed like an array of shape (pictures, height, width, channels).

    Attributes:
        files: Their paths.
        headers: What is known of each before it is decoded.
        size: (height, width) of all.
        prepared: How they become an input.
        channels: 1 or 3.

    Example:
        >>> pictures[:32].shape
        (32, 224, 224, 3)
    """

    files: Sequence[str]
    headers: Sequence[Header]
    size: tuple[int, int]
    prepared: Preparation
    channels: int
    _kept: dict[int, Floats] = dataclass_field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, files: Sequence[str], prepared: Preparation) -> Pictures:
        """Look at the header of each; grey only if all are.

        Raises:
            DataError: One is no picture, or of a kind that Keras does not read at its full range.
        """
        headers = [read_header(file) for file in files]
        size = prepared.size or (headers[0].height, headers[0].width)
        return cls(tuple(files), headers, size, prepared, 1 if all(header.grey for header in headers) else 3)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(pictures, height, width, channels)."""
        return (len(self.files), *self.size, self.channels)

    @property
    def ndim(self) -> int:
        """Always 4."""
        return 4

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """Always float32."""
        return np.dtype(np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes that all take in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: Any) -> Floats:
        """Return one picture for a whole number; for a slice or an array of numbers, several; axes may follow."""
        if (kept := self._kept.get(self.channels)) is not None:
            return np.asarray(kept[rows])
        if isinstance(rows, tuple):
            if not rows or rows[0] is ...:
                return np.asarray(self[:][rows])
            found, axes = self[rows[0]], rows[1:]
            axes = axes if found.ndim < self.ndim else (slice(None), *axes)
            return np.asarray(found[axes])
        if isinstance(rows, (int, np.integer)):
            return self._picture(int(rows))
        return self._pictures(np.arange(len(self))[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return all of them, in memory."""
        return self[:] if dtype is None else self[:].astype(dtype)

    def take(self, rows: npt.NDArray[np.int64]) -> Pictures:
        """Return the pictures numbered `rows`."""
        files, headers = ([sequence[row] for row in rows] for sequence in (self.files, self.headers))
        return replace(self, files=files, headers=headers, _kept={})

    def with_channels(self, channels: int | None) -> Pictures:
        """Return them as grey (1) or RGB (3), decoded to that as Keras does; for another number, as they are."""
        return replace(self, channels=channels) if channels in (1, 3) else self

    def loaded(self) -> Array | Pictures:
        """Return them as an array where that is small (`KEPT_BYTES`), and read once; as they are otherwise."""
        if self.nbytes > KEPT_BYTES:
            return self
        if self.channels not in self._kept:
            self._kept[self.channels] = self[:]
        return self._kept[self.channels]

    def check(self) -> None:
        """Decode each of them once, where they are not kept: what is damaged is to be known before a training.

        Raises:
            DataError: One cannot be decoded.
        """
        if self.channels not in self._kept:
            for start in range(0, len(self), 64):
                self[start : start + 64]

    def record(self) -> dict[str, Any]:
        """Say how they were prepared, as the sidecar and reports hold it."""
        return {
            "size": list(self.size),
            "resize": self.prepared.resize,
            "scaling": self.prepared.scaling,
            "decoder": decoder_names(list(self.headers), self.channels),
            "adapted": self.adapted(),
        }

    def adapted(self) -> dict[str, int]:
        """Count what was not as the input is: resized, made RGB or grey, without its transparency, of 16 bits."""
        found: Counter[str] = Counter()
        for header in self.headers:
            found["resized"] += (header.height, header.width) != self.size
            found["grey to RGB"] += header.grey and self.channels == 3
            found["colour to grey"] += not header.grey and self.channels == 1
            found["transparency dropped"] += "A" in header.mode
            found["CMYK to RGB"] += header.mode == "CMYK"
            found["16 to 8 bits"] += header.deep
        return {name: count for name, count in found.items() if count}

    def note(self) -> str:
        """Say in a line how they were prepared."""
        height, width = self.size
        how = IMAGE_RESIZES[self.prepared.resize]
        return f"images resized to {height}x{width} ({how}), pixels scaled to {self.prepared.scaling}"

    def to_dict(self) -> dict[str, Any]:
        """Return what another process reads them by, as JSON holds it."""
        return {
            "files": [os.path.abspath(file) for file in self.files],
            "headers": [list(header) for header in self.headers],
            "size": list(self.size),
            "scaling": self.prepared.scaling,
            "resize": self.prepared.resize,
            "channels": self.channels,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pictures:
        """Return what `to_dict` wrote."""
        height, width = values["size"]
        prepared = Preparation((height, width), values["scaling"], values["resize"])
        headers = [Header(*header) for header in values["headers"]]
        return cls(values["files"], headers, (height, width), prepared, values["channels"])

    def _pictures(self, rows: npt.NDArray[np.int64]) -> Floats:
        found = np.empty((len(rows), *self.shape[1:]), np.float32)

        def put(position: int) -> None:
            found[position] = self._picture(int(rows[position]))

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # decoders and NumPy release the lock
            for _ in pool.map(put, range(len(rows))):
                pass
        return found

    def _picture(self, row: int) -> Floats:
        pixels = decode(self.files[row], self.headers[row], self.channels)
        scale, offset = IMAGE_SCALINGS[self.prepared.scaling]
        resized = resize(pixels, self.size, self.prepared.resize).astype(np.float32)
        return np.asarray(resized * np.float32(scale) + np.float32(offset), np.float32)


def list_folder(folder: Path) -> tuple[list[str], npt.NDArray[np.int64] | None, tuple[str, ...]]:
    """Return the pictures below `folder`, their labels, and the names of the classes; no labels without sub-folders.

    Each sub-folder is a class, numbered in alphabetical order, also one without pictures. A link to a folder is one
    unless it leads to `folder` itself or above it; links further down are not followed.
    """
    above = {folder.resolve(), *folder.resolve().parents}
    classes = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and not (entry.is_symlink() and entry.resolve() in above)
    )
    labelled = [(file, index) for index, name in enumerate(classes) for file in _below(folder / name)]
    if labelled:
        labels = np.array([index for _, index in labelled], dtype=np.int64)
        return [file for file, _ in labelled], labels, tuple(classes)
    return _below(folder), None, ()


def _below(folder: Path) -> list[str]:
    found = [
        Path(root, name)
        for root, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES and os.path.isfile(os.path.join(root, name))
    ]
    return [str(file) for file in sorted(found)]
