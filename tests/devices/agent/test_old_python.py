"""The agent runs where boards are: every part that needs no NumPy, under real Pythons 3.7 to 3.9."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgeopt.devices.agent.protocol import PROTOCOL_VERSION
from edgeopt.devices.pack import agent_sources

from ..conftest import Talk, old_pythons, reply_of

OLD = old_pythons()


@pytest.fixture(params=["3.7", "3.8", "3.9"])
def old_python(request: pytest.FixtureRequest) -> str:
    version: str = request.param
    if version not in OLD:
        pytest.skip(f"no Python {version} on this machine (looked on the PATH and in ~/.pyenv/versions)")
    return OLD[version]


def test_every_source_compiles(old_python: str, tmp_path: Path) -> None:
    for name, source in agent_sources().items():
        (tmp_path / name).write_bytes(source)
    done = subprocess.run(
        [old_python, "-W", "error", "-m", "compileall", "-q", "-f", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_info_is_answered_over_the_protocol(old_python: str, talk: Talk) -> None:
    done = talk({"protocol": PROTOCOL_VERSION, "nonce": "old", "op": "info"}, python=old_python)
    result = reply_of(done)["result"]
    version = result["board"]["python"]
    assert OLD[".".join(version.split(".")[:2])] == old_python
    assert len(result["runtimes"]) == 2


def test_a_job_there_ends_with_the_reason_and_leaves_nothing(old_python: str, talk: Talk, tmp_path: Path) -> None:
    """These Pythons have no NumPy or runtime here: locking, the run's folder, and the reply are what is shown."""
    request = {"protocol": PROTOCOL_VERSION, "nonce": "old", "op": "measure", "workdir": str(tmp_path), "model": "m"}
    error = reply_of(talk({**request, "bench": {}}, python=old_python))["error"]
    assert error["kind"] in ("runtime_missing", "file")
    assert list((tmp_path / "runs").iterdir()) == []


def test_the_tables_by_hand_are_printed(old_python: str, agent: Path) -> None:
    done = subprocess.run([old_python, str(agent), "info"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "ai_edge_litert" in done.stdout and "kernel" in done.stdout
