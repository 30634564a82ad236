"""The work folder: locks and runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeopt.devices.agent.protocol import AgentError
from edgeopt.devices.agent.workfolder import WorkFolder


def never() -> bool:
    return False


def quiet(_: str) -> None:
    pass


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    first, second = WorkFolder(str(tmp_path)), WorkFolder(str(tmp_path))
    first.acquire(0, quiet, never)
    told: list[str] = []
    with pytest.raises(AgentError, match=rf"another job \(process {os.getpid()}\) has held the device for the 0.3 s"):
        second.acquire(0.3, told.append, never)
    assert set(told) == {"waiting"}
    os.close(first.lock)
    second.acquire(0, quiet, never)


def test_waiting_ends_when_the_host_has_gone(tmp_path: Path) -> None:
    WorkFolder(str(tmp_path)).acquire(0, quiet, never)
    with pytest.raises(AgentError, match="another job"):
        WorkFolder(str(tmp_path)).acquire(600, quiet, lambda: True)


def test_a_run_begins_with_an_empty_folder_and_without_its_predecessors(tmp_path: Path) -> None:
    folder = WorkFolder(str(tmp_path))
    old = Path(folder.open_run("old"))
    (old / "output-0.npy").write_bytes(b"1")
    new = Path(folder.open_run("new"))
    assert not old.exists() and list(new.iterdir()) == []
    folder.close_run(str(new))
    folder.close_run(str(new))
    assert not new.exists()


@pytest.mark.parametrize("nonce", ["", "..", "a/b", "a b", "x" * 65])
def test_a_nonce_cannot_lead_out_of_the_folder(tmp_path: Path, nonce: str) -> None:
    with pytest.raises(AgentError, match="is not made of letters"):
        WorkFolder(str(tmp_path)).open_run(nonce)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AgentError, match=r"cannot write in the work folder .*file: File exists"):
        WorkFolder(str(tmp_path / "file"))
