"""Reading .npy files of untrusted origin, here and on the host: the header is text, and is never evaluated.

`numpy.load` evaluates the header as Python and believes it: an array of more than the memory, a type of no bytes (a
division by zero inside NumPy that ends the process), a nest of tuples. Format: numpy.lib.format, versions 1.0 to 3.0.
"""

from __future__ import annotations

import os
import re
from typing import Any, BinaryIO, Dict, Iterable, NamedTuple, Tuple

import numpy as np

from .arith import Array

MAGIC = b"\x93NUMPY"
_MOST_HEADER = 10000  # bytes, as in NumPy
_MOST_RANK = 32
_FIELD = re.compile(r"""['"](descr|fortran_order|shape)['"]\s*:\s*('[^']*'|"[^"]*"|True|False|\([\dL,\s]*\)|\S)""")
# Booleans, numbers, texts and times of some bytes; 0 bytes a value would be an array of any length out of nothing.
_PLAIN = re.compile(r"[<>|=]?[biufcSUmM][1-9]\d{0,8}(\[\w+\])?")


class NotAnArray(Exception):
    """What is wrong with the bytes, as a clause."""


class Header(NamedTuple):
    """What an array is.

    Attributes:
        dtype: Plain values of a fixed size.
        shape: Its shape.
        fortran: The first axis runs fastest.
        start: Where its bytes begin.
    """

    dtype: Any
    shape: Tuple[int, ...]
    fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        """Number of its bytes."""
        return _product(self.shape) * int(self.dtype.itemsize)

    def arrange(self, flat: Array) -> Array:
        """Return the values, shape ``(n,)``, in the array's shape."""
        return flat.reshape(self.shape[::-1]).T if self.fortran else flat.reshape(self.shape)


def read_header(stream: BinaryIO, available: int) -> Header:
    """Return the header at the beginning of a stream of `available` bytes, which is left behind it.

    Raises:
        NotAnArray: There is none, or it states what those bytes cannot hold.
    """
    head = stream.read(len(MAGIC) + 2)
    if head[: len(MAGIC)] != MAGIC:
        raise NotAnArray("it does not begin as a .npy file does")
    width = 2 if head[-2] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > _MOST_HEADER:
        raise NotAnArray("its header has %d bytes" % length)
    found = dict(_FIELD.findall(stream.read(length).decode("latin1")))
    start = len(head) + width + length
    header = Header(_dtype(found), _shape(found), found.get("fortran_order") == "True", start)
    # NumPy holds no array of more bytes, not even an empty one.
    if _product(max(size, 1) for size in header.shape) * header.dtype.itemsize >= 2**63:
        raise NotAnArray("it cannot have the shape %s" % (header.shape,))
    if header.nbytes > available - start:
        message = "it holds %d bytes, but an array of shape %s and type %s has %d"
        raise NotAnArray(message % (max(available - start, 0), header.shape, header.dtype, header.nbytes))
    return header


def map_npy(path: Any) -> Array:
    """Return the array in a .npy file, read-only, mapped into memory: it takes none until it is looked at.

    Raises:
        OSError: The file cannot be read.
        NotAnArray: It holds no array of plain values.
    """
    with open(path, "rb") as stream:
        header = read_header(stream, os.fstat(stream.fileno()).st_size)
        if not header.nbytes:
            return np.zeros(header.shape, header.dtype)
        order: Any = "F" if header.fortran else "C"
        return np.memmap(stream, header.dtype, "r", header.start, header.shape, order)


def _dtype(found: Dict[str, str]) -> Any:
    text = found.get("descr", "").strip("'\"")
    if text.lstrip("|") == "O":
        raise NotAnArray("it holds pickled objects, which are never loaded; expected plain numbers")
    if text in ("(", "["):
        raise NotAnArray("it holds structured values; expected plain numbers")
    try:
        if _PLAIN.fullmatch(text):
            return np.dtype(text)
    except (TypeError, ValueError):
        pass
    raise NotAnArray("it holds values of the type %.40r; expected plain numbers" % text)


def _shape(found: Dict[str, str]) -> Tuple[int, ...]:
    text = found.get("shape", "")
    sizes = [part.strip().rstrip("L") for part in text.strip("()").split(",") if part.strip()]  # 3L: Python 2's 3
    if text[-1:] != ")" or len(sizes) > _MOST_RANK or not all(size.isdigit() and len(size) < 20 for size in sizes):
        raise NotAnArray("its header states no shape")
    return tuple(map(int, sizes))


def _product(sizes: Iterable[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product
