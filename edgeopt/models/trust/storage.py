"""Where a model file's weights really lie: in the file, at about the size that they take there, and nowhere else.

HDF5 can point into other files of the reader (external links, external storage, virtual datasets), and a few bytes of
it, or of a zip file, can stand for gigabytes. Both are read here as data, no link is followed, and nothing is expanded.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from ...errors import EdgeoptError, FileFormatError, UnsafeModelError
from ..hdf5 import MOST_GROWTH, fits, lies_elsewhere, objects

_MAX_OBJECTS = 500_000
_REMEDY = "pass --unsafe-load if you trust the file"


def check_archive(path: Path) -> int:
    """Refuse a `.keras` file that grows without measure, holds pickled arrays, or whose weights lie elsewhere.

    Returns how many numbers it holds.

    Raises:
        UnsafeModelError: It does.
        FileFormatError: It is damaged.
    """
    values = 0
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_growth(path, sum(member.file_size for member in members), path.stat().st_size)
        for member in members:
            name = member.filename.lower()
            if name.endswith((".npz", ".npy")):  # which tf_keras unpickles
                raise UnsafeModelError(
                    f"{path} holds its weights as {member.filename[:100]!r}, which may hold pickled Python code; save "
                    "the model again with its weights in HDF5, or pass --unsafe-load if you trust the file."
                )
            if name.endswith((".h5", ".hdf5")):
                values += check_hdf5(path, io.BytesIO(archive.read(member)))
    return values


def check_hdf5(path: Path, content: Path | io.BytesIO) -> int:
    """Refuse an HDF5 file that takes data from other files, or whose data take far more room than it has.

    Returns how many numbers it holds.

    Args:
        path: The model file, for messages.
        content: What is to be read: that file, or a member of it.

    Raises:
        UnsafeModelError: It does.
        FileFormatError: It holds too many objects, or is damaged.
    """
    import h5py

    def see_link(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            raise _elsewhere(path, name, "is a link into another file")

    full = values = 0
    try:
        with h5py.File(content, "r") as file:
            for count, found in enumerate(objects(file, see_link)):
                if count > _MAX_OBJECTS:
                    raise FileFormatError(f"{path} holds more than {_MAX_OBJECTS} objects of HDF5.")
                if not isinstance(found, h5py.Dataset):
                    continue
                if what := lies_elsewhere(found):
                    raise _elsewhere(path, found.name, what)
                values += found.size or 0
                full += (found.size or 0) * found.dtype.itemsize
            _check_growth(path, full, file.id.get_filesize())
            return values
    except EdgeoptError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise FileFormatError(f"{path} is a damaged HDF5 file ({str(error)[:200]}); save the model again.") from error


def _elsewhere(path: Path, name: str, what: str) -> UnsafeModelError:
    return UnsafeModelError(f"{path}: {name[:100]!r} {what}, which would be read from this machine; {_REMEDY}.")


def _check_growth(path: Path, full: int, stored: int) -> None:
    if not fits(full, stored):
        raise UnsafeModelError(
            f"{path} holds {stored:,} bytes that stand for {full:,}, more than {MOST_GROWTH} times as many; {_REMEDY}."
        )
