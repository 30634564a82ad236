"""Samples and labels in .npy and .npz files, as every verb takes them; samples as the agent takes them."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeopt.data.dataset import Dataset, load_dataset, sample_hashes
from edgeopt.devices.agent.arrays import open_samples
from edgeopt.devices.agent.protocol import AgentError
from edgeopt.devices.agent.session import Tensor
from edgeopt.errors import DataError

from ..mutator import mutate
from ..readers import Reader, scratch


def _npy_seeds() -> Mapping[str, bytes]:
    arrays = {
        "float": np.linspace(0, 1, 24, dtype=np.float32).reshape(6, 2, 2),
        "fortran": np.asfortranarray(np.arange(12, dtype=">i2").reshape(3, 4)),
        "text": np.array(["cat", "dog"]),
        "nothing": np.zeros((0, 4)),
    }
    return {name: _saved(lambda stream, a=array: np.save(stream, a)) for name, array in arrays.items()}


def _npz_seeds() -> Mapping[str, bytes]:
    x, y = np.arange(40, dtype=np.float32).reshape(5, 8), np.arange(5)
    return {
        "stored": _saved(lambda stream: np.savez(stream, x=x, y=y)),
        "deflated": _saved(lambda stream: np.savez_compressed(stream, image=x, other=x[:, :2], labels=y)),
        **{str(method): _zipped(x, method) for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)},
    }


def _saved(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def _zipped(array: np.ndarray, method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo("x.npy"), _saved(lambda inner: np.save(inner, array)), method)
    return stream.getvalue()


def _mutate_header(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Damage a .npy file, one time in two in what its header says."""
    start = data.find(b"{'descr'")
    if start < 0 or rng.random() < 0.5:
        return mutate(data, others, rng)
    end = data.find(b"\n", start)
    header = {"descr": rng.choice(_TYPES), "fortran_order": rng.choice(("False", "True")), "shape": rng.choice(_SHAPES)}
    for name in [*header]:
        if rng.random() < 0.1:
            header.pop(name)
    text = "{" + "".join(f"'{name}': {value}, " for name, value in header.items()) + "}"
    return data[:start] + text.encode().ljust(end - start) + data[end:]


_TYPES = (
    *(
        "'<f4'",
        "'>f8'",
        "'<i2'",
        "'|u1'",
        "'|b1'",
        "'<c8'",
        "'<U3'",
        "'<U99999999'",
        "'|V0'",
        "'|V8'",
        "'|S0'",
        "'|S1'",
    ),
    *("'|O'", "'O'", "'<M8[ns]'", "'<m8[99Y]'", "'<f99'", "'f4,f4'", "[('a', '<f4')]", "('<f4', (3,))", "7", "'<f2'"),
)
_SHAPES = (
    *("()", "(0,)", "(6,)", "(6, 2)", "(3, 4)", "(-1,)", "(-3, -4)", "(1000000000,)", "(1000000000000000000,)"),
    *(
        "(0, 4294967296, 4294967296)",
        "(10L, 2L)",
        "(True,)",
        "(6.0,)",
        "6",
        "(" + "1," * 40 + ")",
        "(" + "9" * 60 + ",)",
    ),
)


def _check(path: Path) -> None:
    found = load_dataset(path)
    names = found.names or tuple(f"in{place}" for place in range(len(found.arrays)))
    _bound(found, names)
    found.take(np.arange(min(found.count, 3)))
    found.labels_of("out", ["out"])


def _bound(found: Dataset, names: Sequence[str]) -> None:
    bound = found.bind(names, [(None, *array.shape[1:]) for array in found.arrays])
    sample_hashes([array[:20] for array in bound.values()])


def _npy(data: bytes) -> None:
    path = scratch() / "data.npy"
    path.write_bytes(data)
    _check(path)
    try:
        samples = open_samples(Tensor("x", "x", 0, np.float32, (1, 2, 2), (-1, -1, -1), None, 0), str(path))
        float(np.asarray(samples[:20]).sum())
    except AgentError as error:  # it travels as data: the host makes one of edgeopt's errors of it
        if error.kind != "data":
            raise
        raise DataError(error.message) from error


def _npz(data: bytes) -> None:
    path = scratch() / "data.npz"
    path.write_bytes(data)
    _check(path)


_SOURCES = ("edgeopt/data/dataset.py", "devices/agent/npy.py")

READERS = {
    "npy": Reader(_npy, _npy_seeds, (*_SOURCES, "devices/agent/arrays.py"), ("repro/hostile/*.npy",), _mutate_header),
    "npz": Reader(_npz, _npz_seeds, (*_SOURCES, "edgeopt/artifact/npz.py"), ("repro/hostile/*.npz",)),
}
