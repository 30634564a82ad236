"""HDF5 files that the library loops over, dies of or cannot read are known before anything here opens them."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgeopt.errors import FileFormatError
from edgeopt.models import hdf5
from edgeopt.models.hdf5 import check_members, read_head

from ..processes import alive, wait_until

CONFIG = json.dumps({"class_name": "Sequential"})


def written(target, packed=None, **attributes):
    with h5py.File(target, "w") as file:
        file.attrs.update({"model_config": CONFIG, **attributes})
        if packed is not None:
            file.create_dataset("model_weights/packed", data=packed, chunks=(8, 8), compression="gzip")
    return target


@pytest.fixture
def endless(shared_data):
    """The library loops over the heap that the text of an attribute lies in."""
    return shared_data / "repro" / "hostile" / "hang_candidate.h5"


def test_the_head_of_a_whole_file(tmp_path):
    path = written(tmp_path / "m.h5", np.eye(32), keras_version="2.19.0")
    assert read_head(path) == (CONFIG, "2.19.0", False)


def test_a_file_that_the_library_loops_over_is_refused_soon(endless):
    start = time.process_time()
    with pytest.raises(FileFormatError, match=r"a damaged HDF5 file \(reading it does not end within 3 s\); save"):
        read_head(endless)
    assert time.process_time() - start < 1  # this process was not the one that looped


def test_an_interrupt_ends_it(endless):
    code = f"from edgeopt.models.detect import detect; print('begun', flush=True); detect({str(endless)!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"begun\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        assert wait_until(lambda: bool(children.read_text()), 60)
        child = int(children.read_text().split()[0])
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
        assert b"KeyboardInterrupt" in process.stderr.read()
    assert wait_until(lambda: not alive(child), 60)  # it has a limit of its own, too


def test_values_that_cannot_be_unpacked_are_found_at_once(tmp_path):
    """Keras would find them after it has built the model; other damage of that kind ends the process."""
    path = written(tmp_path / "m.h5", np.arange(64.0).reshape(8, 8))
    data = path.read_bytes()
    start = data.index(b"\x78\x5e") if b"\x78\x5e" in data else data.index(b"\x78")
    path.write_bytes(data[: start + 10] + bytes(20) + data[start + 30 :])
    with pytest.raises(FileFormatError, match="is a damaged HDF5 file"):
        read_head(path)
    stream = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("model.weights.h5", stream.getvalue())
    with pytest.raises(FileFormatError, match=r"m\.keras is a damaged HDF5 file"):
        check_members(tmp_path / "m.keras")


def test_values_in_other_files_are_not_read(tmp_path):
    """A device that never ends lies there; that it is refused is another's part."""
    with h5py.File(written(tmp_path / "m.h5"), "a") as file:
        file.create_dataset("far", shape=(1 << 20,), dtype="u1", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)])
    assert read_head(tmp_path / "m.h5").config == CONFIG


def test_a_file_that_the_library_dies_of_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "python_command", lambda *_: ["sh", "-c", "kill -SEGV $$"])
    with pytest.raises(FileFormatError, match=r"\(reading it ends in SIGSEGV\)"):
        read_head(written(tmp_path / "m.h5"))
