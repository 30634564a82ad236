"""Reading zip archives of untrusted origin in bounded memory, and the arrays of an .npz."""

from __future__ import annotations

import lzma
import os
import struct
import zipfile
import zlib
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..devices.agent.npy import MAGIC, NotAnArray, read_header
from ..errors import one_line

# What `zipfile` raises on archives that are damaged, encrypted, or packed in a way that it does not know.
ZIP_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, ValueError, KeyError, RuntimeError, NotImplementedError, OverflowError),
)
# What arrays may take that are packed so well that hardly anything can be in them.
_FREE_BYTES = 1 << 28
_MOST_PACKED = 50


def read_npz(path: str | os.PathLike[str], *, contents: bool = True) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays in an .npz archive, by name; without `contents` of that shape and type, and read in no time.

    Raises:
        OSError: The file cannot be read.
        NotAnArray: It is no archive of arrays of plain values, or becomes far more than it is.
        MemoryError: They are more than the memory holds.
    """
    with open(path, "rb") as stream:
        head = stream.read(len(MAGIC))
        if head == MAGIC:
            raise NotAnArray("it holds one .npy array, not an .npz archive; rename it to .npy")
        if head[:1] == b"\x80":
            raise NotAnArray("it holds pickled objects, which are never loaded")
        try:
            with zipfile.ZipFile(stream) as archive:
                members = archive.infolist()
                _check_sizes(members, os.fstat(stream.fileno()).st_size)
                return {member.filename.removesuffix(".npy"): _array(archive, member, contents) for member in members}
        except ZIP_DAMAGE as error:
            raise NotAnArray(one_line(error) or type(error).__name__) from error


def _check_sizes(members: list[zipfile.ZipInfo], size: int) -> None:
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(_FREE_BYTES, _MOST_PACKED * size):
        raise NotAnArray(f"its {size} bytes would become {unpacked}; save it with numpy.savez, which does not compress")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, contents: bool) -> npt.NDArray[Any]:
    with archive.open(member) as stream:
        try:
            header = read_header(stream, member.file_size)  # type: ignore[arg-type]
        except NotAnArray as error:
            raise NotAnArray(f"{member.filename[:100]!r}: {error}") from error
        if not contents:
            return np.broadcast_to(np.empty((), header.dtype), header.shape)
        values = np.empty(header.nbytes // header.dtype.itemsize, header.dtype)
        _fill(values, stream)  # type: ignore[arg-type]
        return np.asarray(header.arrange(values))


def _fill(values: npt.NDArray[Any], stream: BinaryIO) -> None:
    """Read so many bytes, and up to the end of the member, where its checksum is compared."""
    left = values.view(np.uint8).data
    while left:
        chunk = stream.read(min(len(left), 1 << 20))
        if not chunk:
            raise EOFError("it ends too soon")
        left[: len(chunk)] = chunk
        left = left[len(chunk) :]
    stream.read(1)
