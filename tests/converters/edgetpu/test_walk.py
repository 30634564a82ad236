"""The walker of FlatBuffers and FlexBuffers, against the flatbuffers library and against hostile bytes."""

from __future__ import annotations

import flatbuffers
import pytest
from flatbuffers import flexbuffers

from edgeopt.converters.edgetpu.walk import MAX_ITEMS, Table, flex_map
from edgeopt.flatbuffer.wire import Broken


def table_with(*fields: tuple[str, object]) -> bytes:
    """A FlatBuffer whose root has these fields, numbered from 0."""
    builder = flatbuffers.Builder(64)
    offsets = [builder.CreateString(value) if kind == "text" else 0 for kind, value in fields]
    builder.StartObject(len(fields))
    for number, ((kind, value), offset) in enumerate(zip(fields, offsets, strict=True)):
        if kind == "text":
            builder.PrependUOffsetTRelativeSlot(number, offset, 0)
        elif kind == "i32":
            builder.PrependInt32Slot(number, value, 0)
        elif kind == "u64":
            builder.PrependUint64Slot(number, value, 0)
    builder.Finish(builder.EndObject(), b"TEST")
    return bytes(builder.Output())


def test_numbers_texts_and_absent_fields_are_read():
    table = Table.root(table_with(("i32", -5), ("text", "häuser"), ("u64", 2**63), ("i32", 0)), b"TEST")
    assert table.number(0, 4) == -5
    assert table.text(1) == "häuser"
    assert table.number(2, 8, signed=False) == 2**63
    assert table.number(3, 4, default=7) == 7  # the writer leaves out what equals the schema's default
    assert table.number(99, 4, default=8) == 8
    assert table.blob(99) is None
    assert list(table.vector(99)) == []


def test_a_wrong_identifier_is_broken():
    with pytest.raises(Broken, match="identifier b'TEST', expected b'ELSE'"):
        Table.root(table_with(("i32", 1)), b"ELSE")


@pytest.mark.parametrize("data", [b"", b"\0" * 3, b"\xff" * 8, b"\x04\0\0\0TEST"])
def test_bytes_that_hold_no_table_are_broken(data):
    with pytest.raises(Broken, match="refers to bytes"):
        Table.root(data)


def test_a_vector_that_claims_too_much_is_broken():
    data = bytearray(table_with(("text", "abcdefgh")))
    where = data.index(b"\x08\0\0\0abcdefgh")
    data[where : where + 4] = (MAX_ITEMS + 1).to_bytes(4, "little")
    with pytest.raises(Broken, match=f"vector of {MAX_ITEMS + 1} items"):
        list(Table.root(bytes(data)).vector(0))


def test_a_flexbuffer_map_is_read_as_the_library_reads_it():
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Int("1", 0)
        builder.String("4", "x" * 300)
        builder.Int("5", -1)
        builder.Key("6")
        builder.VectorFromElements([1, 2])
        builder.Blob("7", b"\0\1\2")
    found = flex_map(bytes(builder.Finish()))
    assert found == {"1": 0, "4": b"x" * 300, "5": -1, "7": b"\0\1\2"}


@pytest.mark.parametrize("data", [b"", b"\x24\x01", b"\0" * 40, b"\xff" * 40])
def test_bytes_that_are_no_map_are_broken(data):
    with pytest.raises(Broken, match=r"refers to bytes|not a FlexBuffer map"):
        flex_map(data)
