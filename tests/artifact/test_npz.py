"""Archives of arrays: as NumPy reads them, and no more than a file of their size may become."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from edgeopt.artifact import npz
from edgeopt.artifact.npz import read_npz
from edgeopt.devices.agent.npy import NotAnArray

X = np.arange(40, dtype=np.float32).reshape(5, 8)


def packed(path, method=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_it_is_read_as_numpy_reads_it(tmp_path, write):
    arrays = {"x": X, "fortran": np.asfortranarray(X), "scalar": np.array(3), "empty": np.zeros((0, 2)), "a/b": X[:1]}
    write(tmp_path / "d.npz", **arrays)
    found = read_npz(tmp_path / "d.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_read(tmp_path, method):
    np.testing.assert_array_equal(read_npz(packed(tmp_path / "d.npz", method, x=npy(X)))["x"], X)


def patched(path, find, offset, value):
    """Change a byte behind each place that is found: the headers of a member stand twice in an archive."""
    data = bytearray(path.read_bytes())
    for start in range(len(data) - 4):
        if data[start : start + 4] == find:
            data[start + offset[0 if find == b"PK\x03\x04" else 1]] = value
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("local", "central", "value", "reason"),
    [
        (6, 8, 1, "is encrypted"),
        (8, 10, 99, "compression method is not supported"),
        (8, 10, zipfile.ZIP_DEFLATED, "Bad CRC-32|Error -3 while"),
        (14, 16, 0, "Bad CRC-32"),
    ],
    ids=["encrypted", "packed in an unknown way", "no such stream", "another checksum"],
)
def test_archives_that_zipfile_does_not_read(tmp_path, local, central, value, reason):
    path = packed(tmp_path / "d.npz", x=npy(X))
    patched(path, b"PK\x03\x04", (local, 0), value)
    patched(path, b"PK\x01\x02", (0, central), value)
    with pytest.raises(NotAnArray, match=reason):
        read_npz(path)


def test_two_mebibytes_that_become_gigabytes_are_refused(tmp_path):
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (300 << 20,)})
        for _ in range(300):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(NotAnArray, match=r"its \d+ bytes would become \d+; save it with numpy.savez, which does not"):
        read_npz(path)


def test_what_is_packed_well_is_read_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "_FREE_BYTES", 1000)
    np.savez_compressed(tmp_path / "d.npz", x=np.repeat(X, 40))
    packing = X.nbytes * 40 / (tmp_path / "d.npz").stat().st_size
    assert 4 < packing < 50
    assert read_npz(tmp_path / "d.npz")["x"].size == X.size * 40
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros(100_000))
    with pytest.raises(NotAnArray, match="would become"):
        read_npz(tmp_path / "d.npz")


def test_a_member_that_ends_too_soon_is_refused(tmp_path):
    with pytest.raises(NotAnArray, match=r"'x.npy': it holds \d+ bytes, but an array of shape \(5, 8\)"):
        read_npz(packed(tmp_path / "d.npz", x=npy(X)[:-1]))


def test_an_absent_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no.npz"):
        read_npz(tmp_path / "no.npz")
