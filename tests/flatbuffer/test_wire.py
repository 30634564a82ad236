"""`edgeopt.flatbuffer.wire`: bytes that do not let themselves be misread."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.flatbuffer.wire import MAX_TABLES, Broken, CheckedBytes, each, integers, text


def test_slices_inside_are_bytes_and_slices_outside_raise():
    data = CheckedBytes(b"hello")
    assert data[1:3] == b"el"
    assert data[0] == ord("h")
    for outside in (slice(3, 6), slice(6, 7), slice(4, 3), slice(-1, 2)):
        with pytest.raises(Broken, match="lies outside"):
            data[outside]


def test_copies_are_limited_to_four_times_the_size():
    data = CheckedBytes(bytes(100))
    for _ in range(4):
        assert len(data[0:100]) == 100
    with pytest.raises(Broken, match="overlap"):
        data[0:100]


def test_a_vector_of_tables_cannot_be_longer_than_the_file():
    with pytest.raises(Broken, match="claims at least 26 tables"):
        each(CheckedBytes(bytes(100)), 26, lambda position: position)
    assert list(each(CheckedBytes(bytes(100)), 25, lambda position: position)) == list(range(25))


def test_tables_are_counted_over_the_whole_file():
    data = CheckedBytes(bytes(4 * MAX_TABLES))
    data.count_tables(MAX_TABLES)
    with pytest.raises(Broken, match=f"claims at least {MAX_TABLES + 1} tables"):
        data.count_tables(1)


def test_views_are_bounded_and_share_memory():
    data = CheckedBytes(b"hello")
    assert data.view(1, 4).tobytes() == b"ello"
    with pytest.raises(Broken, match="bytes 2 to 6 lies outside"):
        data.view(2, 4)


def test_absent_vectors_and_strings_are_empty():
    assert integers(CheckedBytes(b""), 0) == ()
    assert integers(CheckedBytes(bytes(8)), np.array([1, -1], "<i4")) == (1, -1)
    assert text(None) == ""
    assert text(b"caf\xc3\xa9 \xff") == "café �"
