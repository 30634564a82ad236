"""Reading untrusted bytes: slices that must fit, and a limit on the work that a small file can cause.

The generated accessors unpack numbers with `struct` and arrays with `numpy.frombuffer`, which check their bounds; what
they do not check is the length of a string (a slice, silently cut) and how often one table is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Table = TypeVar("Table")

# More than any real model has (the largest hold some ten thousand), few enough to be read in seconds.
MAX_TABLES = 200_000
MAX_RANK = 32
# Not counting dimensions of 0: NumPy holds no array of more bytes than 2 ** 63, not even an empty one.
MAX_ELEMENTS = 2**56


class Broken(Exception):
    """What is wrong with the bytes, as a clause; becomes a FileFormatError at the boundary."""


class CheckedBytes(bytes):
    """Bytes whose slices raise instead of being cut, and which limit the tables and bytes that are read from them."""

    tables: int
    copied: int

    def __new__(cls, data: bytes) -> CheckedBytes:
        """Start with nothing read."""
        self = super().__new__(cls, data)
        self.tables = self.copied = 0
        return self

    def __getitem__(self, key: Any) -> Any:
        """Return a byte, or a slice that lies wholly inside; the generated accessors read strings this way."""
        if isinstance(key, slice):
            if not 0 <= key.start <= key.stop <= len(self):
                raise Broken(f"a string of bytes {key.start} to {key.stop} lies outside")
            self.count_copied(key.stop - key.start)
        return super().__getitem__(key)

    def count_tables(self, count: int) -> None:
        """Note that `count` tables are about to be read.

        Raises:
            Broken: More than a file of this size can hold without one table being reached again and again.
        """
        self.tables += count
        if count * 4 > len(self) or self.tables > MAX_TABLES:
            raise Broken(f"it claims at least {self.tables} tables")

    def count_copied(self, count: int) -> None:
        """Note that `count` bytes are about to be copied; raises `Broken` past four times the file's size."""
        self.copied += count
        if self.copied > 4 * len(self):
            raise Broken("its vectors and strings overlap")

    def view(self, start: int, length: int) -> npt.NDArray[np.uint8]:
        """Return `length` bytes from `start` as a uint8 view; raises `Broken` when they lie outside."""
        if start + length > len(self):
            raise Broken(f"a buffer of bytes {start} to {start + length} lies outside")
        return np.frombuffer(self, np.uint8, count=length, offset=start)


def each(data: CheckedBytes, length: int, item: Callable[[int], Table]) -> Iterator[Table]:
    """Yield the `length` tables of a vector, after counting them."""
    data.count_tables(length)
    return (item(position) for position in range(length))


def integers(data: CheckedBytes, array: Any) -> tuple[int, ...]:
    """Return a numeric vector as a tuple; the generated accessors return the number 0 for one that is absent."""
    if not isinstance(array, np.ndarray):
        return ()
    data.count_copied(array.nbytes)
    return tuple(array.tolist())


def text(value: bytes | None) -> str:
    """Return a stored string; bytes that are not UTF-8 are replaced."""
    return "" if value is None else value.decode("utf-8", "replace")
