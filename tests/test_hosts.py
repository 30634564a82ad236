"""Hosts other than Linux: what Windows lacks is one sentence, and what needs nothing of it works. Imitated, on Linux."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeopt.devices.agent import conditions
from edgeopt.devices.transport.ssh import SshAddress, SshTransport
from edgeopt.errors import UsageError
from edgeopt.process import fork_server, isolation

from .flatbuffer.conftest import FileBuilder

# What the module `os` and `signal` of Windows do not have, as far as anything here uses it.
WINDOWS = """
import os, platform, signal, subprocess, sys
platform.system = lambda: "Windows"
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("fork", "getuid", "getgid", "waitid", "killpg", "sysconf", "getloadavg", "sched_getaffinity"):
    delattr(os, name)
for name in ("SIGHUP",):
    delattr(signal, name)
from edgeopt.cli import run
run(sys.argv[1:])
"""


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    """A file of one operator."""
    file = FileBuilder()
    x, y = file.tensor([1, 16], name="x", scales=[0.25]), file.tensor([1, 3], name="y", scales=[0.125])
    weights = file.tensor([3, 16], name="weights", data=np.arange(48, dtype=np.int8), scales=[0.01])
    file.operator("FULLY_CONNECTED", [x, weights, -1], [y], version=4, options="FullyConnectedOptions")
    path = tmp_path / "small.tflite"
    path.write_bytes(file.build([x], [y]))
    return path


def on_windows(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WINDOWS, *words], capture_output=True, text=True, check=False)


def test_windows_measures_nothing_and_says_so(small_file: Path) -> None:
    done = on_windows("bench", str(small_file))
    assert done.returncode == 2, done.stderr
    wanted = "Measuring on this machine does not work on Windows; expected Linux or macOS: run edgeopt in WSL 2."
    assert done.stderr.splitlines()[-1] == f"edgeopt: {wanted}"
    assert "Traceback" not in done.stderr


def test_windows_converts_nothing_and_reaches_no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    with pytest.raises(UsageError, match=r"^Converting, training or running a Keras model does not work on Windows;"):
        isolation.run_isolated("json:loads", {})
    with pytest.raises(UsageError, match=r"^Reaching a board over SSH does not work on Windows;"):
        SshTransport(SshAddress("pi@kitchen.local"))


def test_windows_reads_files_and_writes_the_agent(small_file: Path, tmp_path: Path) -> None:
    assert on_windows("inspect", str(small_file)).returncode == 0
    assert on_windows("agent", "-o", str(tmp_path / "agent.pyz")).returncode == 0


def test_a_process_is_forked_on_linux_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(fork_server, "start", lambda target, *rest: asked.append(target))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    isolation._start("a:b", {}, ("json",))
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    child = isolation._start("json:loads", dict(os.environ), ("json",))
    child.kill()
    child.wait()
    assert asked == ["a:b"]


def test_cores_are_counted_without_an_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert conditions.cores() == os.cpu_count()
