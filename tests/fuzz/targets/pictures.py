"""Pictures in a folder, of every kind that is taken, by both decoders."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from edgeopt.data.dataset import load_dataset

from ..readers import Reader, scratch

_KINDS = {"BMP": ".bmp", "GIF": ".gif", "JPEG": ".jpg", "PNG": ".png", "PPM": ".ppm", "TIFF": ".tif", "WEBP": ".webp"}


@functools.cache
def _seeds() -> Mapping[str, bytes]:
    pixels = np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3)
    pictures = {
        "RGB": Image.fromarray(pixels),
        "L": Image.fromarray(pixels[..., 0]),
        "P": Image.fromarray(pixels).quantize(8),
    }
    wanted = [("RGB", kind) for kind in _KINDS] + [
        ("L", "PNG"),
        ("L", "JPEG"),
        ("P", "PNG"),
        ("P", "BMP"),
        ("P", "TIFF"),
    ]
    found = {f"{kind} {mode}": _saved(pictures[mode], kind) for mode, kind in wanted}
    _read(found["JPEG RGB"])  # which loads TensorFlow: that is not the files' doing
    return found


def _saved(picture: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind)
    return stream.getvalue()


def _read(data: bytes) -> None:
    """What it is, the bytes say; its name says only that it is a picture."""
    folder = scratch() / "pictures" / "class"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one.png").write_bytes(data)
    found = load_dataset(folder.parent, image_size=(8, 8))
    for channels in (1, 3):
        assert found.bind(["x"], [(None, 8, 8, channels)])["x"].shape == (1, 8, 8, channels)
    found.image_record((None, 8, 8, 3))


READERS = {
    "pictures": Reader(
        _read, _seeds, ("edgeopt/data/decoding.py", "edgeopt/data/folder.py", "edgeopt/data/images.py"), cases=100
    )
}
