"""The quick board: qemu-user and a chroot in private namespaces. Needs root and Linux 6.7 or later."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .apt import PrivateApt, Unavailable, unpack_archive
from .board import Board, free_port, make_folder
from .rootfs import HERE, build

# The qemu-user of Debian 12 (7.2) crashes on, or miscomputes, newer runtimes; version 10 is right.
_EMULATOR_SUITE = "trixie"
CPU = "cortex-a72"


def unavailable() -> str | None:
    """Return why this machine cannot start a namespace board, or None."""
    if os.getuid() != 0:
        return "the namespace board needs root"
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if release < (6, 7):
        return f"the namespace board needs Linux 6.7 (binfmt_misc per user namespace), and this is {os.uname().release}"
    if os.uname().machine != "x86_64":
        return f"the namespace board's emulator is for x86_64, and this is {os.uname().machine}"
    if "binfmt_misc" not in Path("/proc/filesystems").read_text():
        return "this kernel has no binfmt_misc"
    return None


def start(cache: Path) -> Board:
    """Return a fresh board.

    Raises:
        Unavailable: This machine cannot start one.
    """
    reason = unavailable()
    if reason is not None:
        raise Unavailable(reason)
    root, emulator, port = build(cache), _emulator(cache), free_port()
    folder = make_folder(cache, port)
    (folder / "mounts").mkdir()
    script = ["bash", str(HERE / "namespace_init.sh"), str(root), str(folder / "mounts"), str(emulator), CPU, str(port)]
    flags = ["--user", "--mount", "--uts", "--pid", "--fork", "--propagation", "unchanged"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", *flags, *script], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    board = Board("namespace", port, cache / "id", folder, halt=lambda: _halt(process))
    try:
        _map_users(process.pid)
        board.wait(30)
    except (Unavailable, OSError) as error:
        log_text = (folder / "log").read_text(errors="replace")[-600:]
        board.stop()
        raise Unavailable(f"the namespace board did not start: {error}; {log_text}") from error
    return board


def _emulator(cache: Path) -> Path:
    program = cache / "qemu-aarch64"
    if not program.is_file():
        apt = PrivateApt(cache, _EMULATOR_SUITE, "amd64")
        archive = apt.download("qemu-user", cache)
        unpack_archive(archive, archive.parent)
        apt.clean()
        (archive.parent / "usr/bin/qemu-aarch64").replace(program)
        shutil.rmtree(archive.parent)
    return program


def _map_users(pid: int) -> None:
    """Map all users of the new namespace to themselves, once it exists."""
    deadline = time.monotonic() + 10
    while os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user"):
        if time.monotonic() > deadline:
            raise Unavailable("unshare made no user namespace")
        time.sleep(0.01)
    for name in ("gid_map", "uid_map"):
        Path(f"/proc/{pid}/{name}").write_text("0 0 65536\n")


def _halt(process: subprocess.Popen[bytes]) -> None:
    """Kill pid 1 of the namespace, with which everything inside dies."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if process.poll() is None:
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        if process.poll() is None:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
    process.wait()
