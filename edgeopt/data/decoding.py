"""Picture files -> pixels, as TensorFlow's ``decode_image`` and so Keras' ``image_dataset_from_directory`` give them.

Pillow decodes where the two agree to the bit. TensorFlow decodes the rest, whether or not it was loaded before, so that
a folder gives the same pixels in every process: JPEG (another inverse transform, up to 12 grey levels apart), colour
PNG that becomes grey, and BMP with a palette (which TensorFlow does not look up).
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module, metadata
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DataError, one_line
from ..process.quiet import load_tensorflow_quietly

Pixels = npt.NDArray[np.uint8]

_JPEG = ("JPEG", "MPO")  # MPO: what some cameras write, a JPEG with more behind it
_MOST_PIXELS = 50_000_000  # of one picture, which takes twelve bytes each in RGB
_LOADING = threading.Lock()  # several pictures are decoded at a time
_GREY = ("1", "L")
_DEEP = {"I": "32-bit integer", "F": "float"}


class Header(NamedTuple):
    """What is known of a picture before it is decoded.

    Attributes:
        height: In pixels, as stored: the EXIF orientation is not looked at, as in Keras.
        width: In pixels.
        kind: Pillow's name of the format, such as "JPEG".
        mode: Pillow's name of the pixels, such as "RGB".
    """

    height: int
    width: int
    kind: str
    mode: str

    @property
    def deep(self) -> bool:
        """Whether it is a grey PNG of 16 bits, of which the upper 8 are read, as in Keras."""
        return self.kind == "PNG" and self.mode[:1] == "I"

    @property
    def grey(self) -> bool:
        """Whether it has no colours."""
        return self.mode in _GREY or self.deep

    def by_tensorflow(self, channels: int) -> bool:
        """Whether TensorFlow decodes it to so many channels."""
        if self.kind in _JPEG:
            return True
        if self.kind == "PNG":
            return channels == 1 and not self.grey
        return self.kind == "BMP" and channels == 3 and self.mode in ("1", "P")


def read_header(path: str) -> Header:
    """Look at a picture without decoding it.

    Raises:
        DataError: It is no picture, or holds values that 8 bits do not, in a format that Keras does not read.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            header = Header(opened.height, opened.width, str(opened.format), opened.mode)
    except Exception as error:  # each format's plugin raises what it likes
        raise _unreadable(path, error) from error
    if header.height * header.width > _MOST_PIXELS:
        raise DataError(
            f"{path} has {header.width}x{header.height} pixels, expected {_MOST_PIXELS:,} at most; resize it."
        )
    if header.mode[:1] in ("I", "F") and not header.deep:
        what = _DEEP.get(header.mode, "16-bit")
        raise DataError(
            f"{path} holds {what} values ({header.kind}, mode {header.mode}), which Keras' "
            "image_dataset_from_directory does not read; save it with 8 bits a channel or as a 16-bit PNG, or give the "
            "values as .npz."
        )
    return header


def decode(path: str, header: Header, channels: int) -> Pixels:
    """Return the pixels, shape (height, width, channels).

    Args:
        path: The file.
        header: What `read_header` said of it.
        channels: 1 (grey) or 3 (RGB).

    Raises:
        DataError: The file is damaged.
    """
    if header.by_tensorflow(channels):
        return _by_tensorflow(path, channels)
    from PIL import Image

    try:
        with Image.open(path) as opened:
            if header.deep:
                pixels = (np.asarray(opened).astype(np.int64) >> 8).astype(np.uint8)
            else:
                pixels = np.asarray(opened.convert("L" if channels == 1 else "RGB"), np.uint8)
    except Exception as error:
        raise _unreadable(path, error) from error
    pixels = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    return pixels if pixels.shape[-1] == channels else np.repeat(pixels, channels, axis=-1)


def decoder_names(headers: list[Header], channels: int) -> str:
    """Say what decodes these pictures, such as ``tensorflow 2.19.1 (JPEG), pillow 11.0.0 (PNG)``."""
    kinds: dict[str, set[str]] = {"tensorflow": set(), "pillow": set()}
    for header in headers:
        kinds["tensorflow" if header.by_tensorflow(channels) else "pillow"].add(header.kind)
    return ", ".join(f"{name} {_version(name)} ({', '.join(sorted(found))})" for name, found in kinds.items() if found)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # such as tensorflow-cpu
        return str(import_module({"pillow": "PIL"}.get(package, package)).__version__)


def _by_tensorflow(path: str, channels: int) -> Pixels:
    tf = _tensorflow()
    try:
        with open(path, "rb") as stream:
            content = stream.read()
        with tf.device("/CPU:0"):
            pixels: Any = tf.io.decode_image(content, channels=channels, expand_animations=False).numpy()
    except Exception as error:
        raise _unreadable(path, error) from error
    return np.asarray(pixels, np.uint8)


def _tensorflow() -> Any:
    """Return TensorFlow; load it without its log, where nobody has loaded it before."""
    with _LOADING:
        if "tensorflow" not in sys.modules:
            load_tensorflow_quietly(["tensorflow"])
        return import_module("tensorflow")


def _unreadable(path: str, error: Exception) -> DataError:
    return DataError(f"{path} is not a readable image ({one_line(error)}); remove it or save it again.")
