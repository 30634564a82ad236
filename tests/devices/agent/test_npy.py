"""Arrays on disk: what NumPy wrote is read as NumPy reads it, and no header is believed or evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeopt.devices.agent.npy import NotAnArray, map_npy

ARRAYS = {
    "floats": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4),
    "the first axis runs fastest": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big-endian": np.arange(5, dtype=">i8"),
    "booleans": np.array([[True, False]]),
    "complex": np.array([1j]),
    "texts": np.array(["cat", "häuser"]),
    "bytes": np.array([b"cat"]),
    "times": np.array([1, 2], "<M8[ns]"),
    "a scalar": np.float16(3),
    "nothing": np.zeros((0, 3), np.uint8),
    "32 dimensions": np.zeros((1,) * 32),
}


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_it_is_read_as_numpy_reads_it(tmp_path, array, version):
    with (tmp_path / "x.npy").open("wb") as stream:
        np.lib.format.write_array(stream, np.asanyarray(array), version)
    found = map_npy(tmp_path / "x.npy")
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, np.load(tmp_path / "x.npy"))
    assert found.size == 0 or not found.flags.writeable


def with_header(path: Path, header: str, content: bytes = bytes(64), version: int = 1) -> Path:
    text = header.encode().ljust(117) + b"\n"
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    path.write_bytes(b"\x93NUMPY" + bytes([version, 0]) + size + text + content)
    return path


def test_what_other_programs_write_is_read(tmp_path):
    """Python 2 wrote long integers, other writers other quotes and orders."""
    path = with_header(tmp_path / "x.npy", """{"shape":(2L,3L),"descr":"<i4","fortran_order":False}""")
    assert map_npy(path).shape == (2, 3)


@pytest.mark.parametrize(
    ("descr", "shape", "reason"),
    [
        ("'|V0'", "(-1,)", r"values of the type '\|V0'; expected plain numbers"),  # NumPy divides by zero
        ("'<f4'", "(-1,)", "states no shape"),
        ("'<f4'", "(True,)", "states no shape"),
        ("'<f4'", "(1.0,)", "states no shape"),
        ("'<f4'", "4", "states no shape"),
        ("'<f4'", "(" + "1," * 33 + ")", "states no shape"),
        ("'<f4'", "(1" + "0" * 40 + ",)", "states no shape"),
        ("'<f4'", "(17,)", r"holds 64 bytes, but an array of shape \(17,\) and type float32 has 68"),
        ("'<f4'", "(4000000000000000000,)", "cannot have the shape"),
        ("'<f4'", "(0, 4294967296, 4294967296)", "cannot have the shape"),
        ("'<U99999999'", "(1,)", "but an array of shape"),
        ("'|S0'", "(5,)", "values of the type"),
        ("'<f99'", "(1,)", "values of the type"),
        ("'<f4,<f4'", "(1,)", "values of the type"),
        ("('<f4', (3,))", "(1,)", "structured values"),
        ("[('a', '<f4')]", "(1,)", "structured values"),
        ("'|O'", "(1,)", "pickled objects, which are never loaded"),
        ("__import__('os')", "(1,)", "values of the type"),
    ],
)
def test_a_header_that_promises_what_is_not_there_is_refused(tmp_path, descr, shape, reason):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    with pytest.raises(NotAnArray, match=reason):
        map_npy(with_header(tmp_path / "x.npy", header))


def test_the_same_header_with_plain_values_is_read(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (16,), }"
    assert map_npy(with_header(tmp_path / "x.npy", header)).shape == (16,)


def test_what_is_no_array_or_stops_too_soon_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(100))
    data = (tmp_path / "x.npy").read_bytes()
    for size in range(0, len(data), 3):
        (tmp_path / "cut.npy").write_bytes(data[:size])
        with pytest.raises(NotAnArray, match=r"does not begin as|values of the type|no shape|bytes, but an array"):
            map_npy(tmp_path / "cut.npy")


def test_a_header_without_end_is_not_looked_for(tmp_path):
    path = with_header(tmp_path / "x.npy", "{" + " " * 20_000, version=2)
    with pytest.raises(NotAnArray, match="its header has 20002 bytes"):
        map_npy(path)
