"""Walking FlatBuffers and FlexBuffers of untrusted origin: every read is checked to lie inside the bytes.

Only what a compiled file's package needs: tables, vectors of tables, strings and numbers (FlatBuffers), and one map
with string keys (FlexBuffers). Formats: the "Internals" pages of both at flatbuffers.dev.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...flatbuffer.wire import Broken

# More than any package has (real ones hold two executables with tens of layers), few enough to be read at once.
MAX_ITEMS = 10_000
_FLEX_MAP, _FLEX_STRING, _FLEX_BLOB = 9, 5, 25
_FLEX_INT, _FLEX_UINT = 1, 2


class Bytes:
    """Bytes that raise `Broken` when something outside them is read, or one place is copied again and again."""

    def __init__(self, data: bytes | memoryview) -> None:
        """Wrap `data` without copying it."""
        self.data = memoryview(data)
        self._copied = 0

    def number(self, start: int, width: int, signed: bool = False) -> int:
        """Return the little-endian integer of `width` bytes at `start`."""
        return int.from_bytes(self.slice(start, width), "little", signed=signed)

    def slice(self, start: int, length: int) -> memoryview:
        """Return `length` bytes from `start`."""
        if start < 0 or length < 0 or start + length > len(self.data):
            raise Broken(f"it refers to bytes {start} to {start + length} of {len(self.data)}")
        return self.data[start : start + length]

    def copy(self, start: int, length: int) -> bytes:
        """Return a copy of `length` bytes from `start`."""
        self._copied += length
        if self._copied > 4 * len(self.data):
            raise Broken("its strings overlap")
        return bytes(self.slice(start, length))


class Table:
    """One table of a FlatBuffer; fields are addressed by their number in the schema."""

    def __init__(self, data: Bytes, position: int) -> None:
        """Read the table's vtable."""
        self._data, self._position = data, position
        self._vtable = position - data.number(position, 4, signed=True)
        size = data.number(self._vtable, 2)
        self._fields = max((size - 4) // 2, 0)
        data.slice(self._vtable, size)

    @classmethod
    def root(cls, data: bytes | memoryview, identifier: bytes | None = None) -> Table:
        """Return the root table of a FlatBuffer, after checking its identifier if one is given."""
        checked = Bytes(data)
        if identifier is not None and bytes(checked.slice(4, 4)) != identifier:
            raise Broken(f"it has the identifier {bytes(checked.slice(4, 4))!r}, expected {identifier!r}")
        return cls(checked, checked.number(0, 4))

    def number(self, field: int, width: int, signed: bool = True, default: int = 0) -> int:
        """Return an integer field, or its default where the writer left it out."""
        position = self._field(field)
        return default if position is None else self._data.number(position, width, signed)

    def blob(self, field: int) -> memoryview | None:
        """Return a string or byte vector; None where there is none."""
        found = self._vector(field)
        return None if found is None else self._data.slice(*found)

    def text(self, field: int) -> str:
        """Return a string field; bytes that are not UTF-8 are replaced."""
        found = self._vector(field)
        return "" if found is None else self._data.copy(*found).decode("utf-8", "replace")

    def vector(self, field: int) -> Iterator[int]:
        """Yield the positions of the items of a vector of offsets (tables or strings)."""
        start, count = self._vector(field) or (0, 0)
        if count > MAX_ITEMS:
            raise Broken(f"it claims a vector of {count} items")
        self._data.slice(start, 4 * count)
        for item in range(start, start + 4 * count, 4):
            yield item + self._data.number(item, 4)

    def tables(self, field: int) -> Iterator[Table]:
        """Yield the tables of a vector."""
        for position in self.vector(field):
            yield Table(self._data, position)

    def blobs(self, field: int) -> Iterator[memoryview]:
        """Yield the strings of a vector, as bytes."""
        for position in self.vector(field):
            yield self._data.slice(position + 4, self._data.number(position, 4))

    def _vector(self, field: int) -> tuple[int, int] | None:
        """Return where the items of a vector or string start, and how many there are."""
        position = self._field(field)
        if position is None:
            return None
        start = position + self._data.number(position, 4)
        return start + 4, self._data.number(start, 4)

    def _field(self, field: int) -> int | None:
        if field >= self._fields:
            return None
        offset = self._data.number(self._vtable + 4 + 2 * field, 2)
        return None if offset == 0 else self._position + offset


def flex_map(data: bytes) -> dict[str, int | bytes]:
    """Return the integers, strings and blobs of a FlexBuffer that holds a map; other values are left out.

    Raises:
        Broken: The bytes are no such map.
    """
    checked = Bytes(data)
    end = len(data)
    width, packed = checked.number(end - 1, 1), checked.number(end - 2, 1)
    if packed >> 2 != _FLEX_MAP or width not in (1, 2, 4, 8):
        raise Broken("its options are not a FlexBuffer map")
    root = end - 2 - width
    start, unit = root - checked.number(root, width), 1 << (packed & 3)
    size = checked.number(start - unit, unit)
    if size > MAX_ITEMS:
        raise Broken(f"it claims a map of {size} entries")
    keys_unit = checked.number(start - 2 * unit, unit)
    keys = start - 3 * unit - checked.number(start - 3 * unit, unit)
    found: dict[str, int | bytes] = {}
    for index in range(size):
        value = _flex_value(checked, start + index * unit, unit, checked.number(start + size * unit + index, 1))
        if value is not None:
            found[_flex_key(checked, keys + index * keys_unit, keys_unit)] = value
    return found


def _flex_key(data: Bytes, position: int, unit: int) -> str:
    start = position - data.number(position, unit)
    tail = bytes(data.slice(start, min(256, len(data.data) - start)))
    return tail.split(b"\0", 1)[0].decode("utf-8", "replace")


def _flex_value(data: Bytes, position: int, unit: int, packed: int) -> int | bytes | None:
    kind, inner = packed >> 2, 1 << (packed & 3)
    if kind in (_FLEX_INT, _FLEX_UINT):
        return data.number(position, unit, signed=kind == _FLEX_INT)
    if kind in (_FLEX_STRING, _FLEX_BLOB):
        start = position - data.number(position, unit)
        return data.copy(start, data.number(start - inner, inner))
    return None
