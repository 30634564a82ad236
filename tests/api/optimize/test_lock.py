"""One run a folder."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

import pytest

import edgeopt
from edgeopt.api.optimize.lock import locked
from edgeopt.errors import OutputError

from .test_run import RECIPE, data, network


def test_a_second_run_is_refused_and_the_folder_is_free_again_afterwards(tmp_path):
    folder = tmp_path / "a" / "out"
    with locked(folder, print):
        with pytest.raises(OutputError, match="Another run writes in the folder .*out; wait for it to end"):
            locked(folder, print).__enter__()
        assert list(folder.iterdir()) == []
    with locked(folder, print):
        pass


def test_a_killed_run_holds_nothing(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from edgeopt.api.optimize.lock import locked\n"
        "with locked(Path(sys.argv[1]), print): print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stdout.readline() == b"1\n"
        with pytest.raises(OutputError, match="Another run"):
            locked(tmp_path / "out", print).__enter__()
        run.kill()
    with locked(tmp_path / "out", print):
        pass


def test_where_nothing_can_be_locked_it_is_said(tmp_path, monkeypatch):
    def flock(descriptor, how):
        raise OSError(9, os.strerror(9))  # NFS, for a folder

    monkeypatch.setattr(fcntl, "flock", flock)
    said = []
    with locked(tmp_path / "out", said.append):
        assert said == [f"{tmp_path}/out is on a file system without locks: see that no other run writes there"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot make the folder .*file"):
        locked(tmp_path / "file", print).__enter__()


@pytest.mark.heavy
@pytest.mark.parametrize("how", [{"force": True}, {"resume": True}, {}])
def test_a_run_does_not_join_another_in_its_folder(tmp_path, how):
    import keras

    x, y = data()
    out = tmp_path / "out"
    out.mkdir()
    descriptor = os.open(out, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(OutputError, match="Another run writes in the folder"):
            edgeopt.optimize(network(keras), RECIPE, train=(x, y), validation=(x, y), output=out, **how)
    finally:
        os.close(descriptor)
    assert list(out.iterdir()) == []
