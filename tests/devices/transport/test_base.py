"""The contract of `Transport`, held to this machine, the fake and a board; and what is this machine's alone.

What is SSH's alone is in test_ssh.py.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeopt.devices import FakeTransport, LocalTransport, SshAddress, SshTransport, Transport
from edgeopt.devices.transport.base import PipedProcess, content_name, require_below
from edgeopt.errors import DeviceError


@pytest.fixture(params=["local", "fake", pytest.param("ssh", marks=[pytest.mark.board, pytest.mark.heavy])])
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Transport]:
    made: Transport
    if request.param == "local":
        made = LocalTransport(workdir=tmp_path / "work folder")
    elif request.param == "fake":
        made = FakeTransport(lambda _: {}, files={"/fake/out.npy": b"abc"})
    else:
        board = request.getfixturevalue("pi_board")
        made = SshTransport(SshAddress(board.alias, config=board.config), workdir="/tmp/contract")
    yield made
    made.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "données d'été.npy"
    path.write_bytes(b"abc")
    return path


def test_it_is_a_transport(transport: Transport) -> None:
    assert isinstance(transport, Transport)
    assert transport.name and transport.workdir.startswith("/") and list(transport.python)


def test_putting_twice_gives_the_same_path(transport: Transport, source: Path) -> None:
    first = transport.put(source, timeout_s=10)
    assert transport.put(source, timeout_s=10) == first and first.startswith("/")


def test_a_program_speaks_through_three_pipes(tmp_path: Path) -> None:
    local = LocalTransport(workdir=tmp_path)
    process = local.start([sys.executable, "-c", "import sys; print(input()); sys.stderr.write('err'); sys.exit(3)"])
    process.stdin.write("ünï $HOME 'quoted'\n".encode())
    process.stdin.flush()
    assert process.stdout.read().decode() == "ünï $HOME 'quoted'\n"
    assert process.stderr.read() == b"err"
    assert process.wait(30) == 3
    process.kill()


def test_words_reach_the_program_as_they_are(tmp_path: Path) -> None:
    words = ["a b", "$(touch pwned)", "'\"", "", "*", "ü"]
    process = LocalTransport(workdir=tmp_path).start(
        [sys.executable, "-c", "import sys; print(ascii(sys.argv[1:]))", *words]
    )
    assert process.stdout.read().decode().strip() == ascii(words)
    assert process.wait(30) == 0


def test_waiting_ends(tmp_path: Path) -> None:
    process = LocalTransport(workdir=tmp_path).start([sys.executable, "-c", "input()"])
    with pytest.raises(TimeoutError, match=r"still runs after 0.05 s"):
        process.wait(0.05)
    process.kill()
    assert process.wait(30) == -9


def test_a_program_that_is_not_there_is_a_device_error() -> None:
    with pytest.raises(DeviceError, match="Cannot start '/nowhere/python' for this machine: No such file"):
        PipedProcess(["/nowhere/python"], name="this machine")


def test_local_files_are_used_where_they_are(tmp_path: Path, source: Path) -> None:
    assert LocalTransport(workdir=tmp_path / "work").put(source, timeout_s=1) == str(source)


def test_fetching_copies(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "fetched.npy"
    LocalTransport(workdir=tmp_path / "work").get(str(source), target, timeout_s=1)
    assert target.read_bytes() == b"abc"


def test_what_is_not_there_cannot_be_put_or_fetched(tmp_path: Path) -> None:
    local = LocalTransport(workdir=tmp_path / "work")
    with pytest.raises(DeviceError, match=r"Cannot ship .*missing.npy: it is not a file"):
        local.put(tmp_path / "missing.npy", timeout_s=1)
    with pytest.raises(DeviceError, match=r"Cannot fetch .*missing.npy from this machine: No such file"):
        local.get(str(tmp_path / "missing.npy"), tmp_path / "x", timeout_s=1)


def test_only_what_is_below_the_work_folder_can_be_removed(tmp_path: Path, source: Path) -> None:
    local = LocalTransport(workdir=tmp_path / "work")
    inside = tmp_path / "work" / "runs" / "one"
    inside.mkdir(parents=True)
    for path in (str(source), str(tmp_path / "work"), f"{tmp_path}/work/../{source.name}", "/"):
        with pytest.raises(DeviceError, match="is not inside the work folder"):
            local.remove(path, timeout_s=1)
    local.remove(str(tmp_path / "work" / "runs"), timeout_s=1)
    local.remove(str(tmp_path / "work" / "runs"), timeout_s=1)
    assert source.exists() and not inside.exists()


def test_a_link_in_the_work_folder_is_removed_and_not_what_it_points_at(tmp_path: Path) -> None:
    local = LocalTransport(workdir=tmp_path / "work")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "work" / "link").symlink_to(elsewhere)
    local.remove(str(tmp_path / "work" / "link"), timeout_s=1)
    assert elsewhere.is_dir()


def test_the_work_folder_is_this_user_s_alone(tmp_path: Path) -> None:
    LocalTransport(workdir=tmp_path / "work")
    assert stat.S_IMODE((tmp_path / "work").stat().st_mode) == 0o700


def test_a_work_folder_that_another_put_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(DeviceError, match="is not a folder of this user; set TMPDIR"):
        LocalTransport(workdir=tmp_path / "link")
    with pytest.raises(DeviceError, match="Cannot make the work folder"):
        LocalTransport(workdir=Path("/proc/nowhere/work"))


def test_a_work_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalTransport(workdir=tmp_path / "work")
    monkeypatch.setattr(os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.raises(DeviceError, match="is not a folder of this user; set TMPDIR"):
        LocalTransport(workdir=tmp_path / "work")


def test_the_default_work_folder_names_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert LocalTransport().workdir == str(tmp_path / f"edgeopt-{os.getuid()}")


def test_content_names_are_the_hash_and_the_suffix(source: Path) -> None:
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, the example "abc"
    assert content_name(source) == f"{digest}.npy"


def test_a_path_that_climbs_out_is_not_below() -> None:
    require_below("/work", "/work/a", "it")
    with pytest.raises(DeviceError, match=r"Refused to remove /work/a/../../etc on it"):
        require_below("/work", "/work/a/../../etc", "it")
