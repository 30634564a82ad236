"""HDF5 of untrusted origin: read through once in a process of its own, before anything else opens it here.

A few damaged bytes make the HDF5 library loop for ever, crash or fill the memory, inside C, where no exception and no
Ctrl-C reaches. So a small process reads all that there is, under limits of the kernel's; what it came through may be
read again.
"""

from __future__ import annotations

import io
import json
import math
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..artifact.npz import ZIP_DAMAGE
from ..errors import FileFormatError, one_line
from ..process.clean import python_command

MAGIC = b"\x89HDF\r\n\x1a\n"
MOST_SECONDS = 3  # of CPU time; more for large files
_BYTES_A_SECOND = 20 << 20  # what a slow machine reads and unpacks at least
_MEMORY = 1 << 30  # bytes of addresses, above the file's own
_CHUNK = 16 << 20
# What grows beyond is refused by `trust.storage`, or was said to be trusted: it is not read here.
# Weights hardly shrink; those that are pruned to a fiftieth do to about a thirtieth.
MOST_GROWTH = 32
_FREE_BYTES = 64 << 20
DAMAGE = (*ZIP_DAMAGE, TypeError, MemoryError, RecursionError, ArithmeticError, AttributeError)


class Head(NamedTuple):
    """What tells a Keras model from other HDF5 files: its configuration, who wrote it, and whether it holds weights."""

    config: str
    version: str
    weights: bool


def read_head(path: Path) -> Head:
    """Return the head of an HDF5 file, all of which has been read once.

    Raises:
        FileFormatError: It is damaged.
    """
    return Head(**_probe(path))


def check_members(path: Path) -> None:
    """Read the HDF5 members of a ``.keras`` file once.

    Raises:
        FileFormatError: One is damaged.
    """
    _probe(path)


def _probe(path: Path) -> dict[str, Any]:
    seconds = MOST_SECONDS + path.stat().st_size // _BYTES_A_SECOND
    command = python_command("edgeopt.models.hdf5", os.fspath(path), str(seconds))
    endless = f"reading it does not end within {seconds} s"
    try:
        waiting = 60.0 + 20 * seconds  # on the clock, of a busy machine
        finished = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=waiting)
    except subprocess.TimeoutExpired as error:
        raise _damaged(path, endless) from error
    if finished.returncode:
        number = -finished.returncode
        name = signal.Signals(number).name if number > 0 else one_line(finished.stderr.decode(errors="replace")[-200:])
        raise _damaged(path, endless if name in ("SIGXCPU", "SIGKILL") else f"reading it ends in {name}")
    found: dict[str, Any] = json.loads(finished.stdout)
    if "damage" in found:
        raise _damaged(path, found["damage"])
    return found


def _damaged(path: Path, reason: str) -> FileFormatError:
    return FileFormatError(f"{path} is a damaged HDF5 file ({reason}); save the model again.")


def main(arguments: Sequence[str]) -> None:
    """Read a file under limits and print its head as JSON; see `edgeopt.process.clean`."""
    path, seconds = Path(arguments[0]), int(arguments[1])
    import resource

    import h5py  # noqa: F401 -- what it takes is not the file's

    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as stream:
            taken = int(stream.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + _MEMORY + 2 * path.stat().st_size,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        found: dict[str, Any] = read_through(path)
    except DAMAGE as error:
        found = {"damage": one_line(error) or type(error).__name__}
    sys.stdout.write(json.dumps(found))


def read_through(path: Path) -> dict[str, Any]:
    """Read all that an HDF5 file, or the HDF5 members of a zip file, hold; return the fields of a `Head`.

    Raises:
        Exception: One of `DAMAGE`; or it never ends, or the process does.
    """
    with path.open("rb") as stream:
        if stream.read(len(MAGIC)) == MAGIC:  # it may be a zip file, too
            return _read_file(path)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if fits(sum(member.file_size for member in members), path.stat().st_size):
            for member in members:
                if member.filename.lower().endswith((".h5", ".hdf5")):
                    _read_file(io.BytesIO(archive.read(member)))
    return {}


def fits(full: int, stored: int) -> bool:
    """Whether so many stored bytes may stand for `full` bytes."""
    return full <= max(_FREE_BYTES, MOST_GROWTH * stored)


def _read_file(content: Path | io.BytesIO) -> dict[str, Any]:
    import h5py

    with h5py.File(content, "r") as file:
        full, stored = 0, file.id.get_filesize()
        for found in objects(file):
            for name in found.attrs:
                found.attrs[name]
            if isinstance(found, h5py.Dataset) and found.size and not lies_elsewhere(found):
                full += found.size * found.dtype.itemsize
                if fits(full, stored):
                    _read_rows(found)
        marks = ("layers", "_layer_checkpoint_dependencies")
        weights = "layer_names" in file.attrs or any(mark in file for mark in marks)
        return {"config": _text(file, "model_config"), "version": _text(file, "keras_version"), "weights": weights}


def objects(file: Any, see_link: Callable[[str, Any], None] = lambda path, link: None) -> Iterator[Any]:
    """Each group and dataset of an open file, itself first, once, found by hard links alone.

    Args:
        file: What h5py opened.
        see_link: Called with the path and the link of each name, before a hard one is followed.
    """
    import h5py

    seen, left = set(), [file]
    while left:
        found = left.pop()
        address = h5py.h5o.get_info(found.id).addr
        if address in seen:
            continue
        seen.add(address)
        yield found
        for name in found if isinstance(found, h5py.Group) else ():
            link = found.get(name, getlink=True)
            see_link(f"{found.name}/{name}", link)
            if isinstance(link, h5py.HardLink):  # what a soft link leads to is in the file, under a name of its own
                left.append(found[name])


def lies_elsewhere(dataset: Any) -> str:
    """Where the values of a dataset lie in other files, in words; "" where they lie in this one."""
    import h5py

    made = dataset.id.get_create_plist()
    if made.get_layout() == h5py.h5d.VIRTUAL:
        return "is put together from other files"
    return "lies in another file" if made.get_external_count() else ""


def _read_rows(dataset: Any) -> None:
    if not dataset.shape:
        dataset[()]
        return
    row = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    step = max(1, _CHUNK // max(row, 1))
    for start in range(0, dataset.shape[0], step):
        dataset[start : start + step]


def _text(archive: Any, name: str) -> str:
    """A text attribute, or ""."""
    value = archive.attrs.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)
