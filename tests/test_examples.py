"""The examples run as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeopt.cli.main import main

from .devices.conftest import classifier_model


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a user's repository has: a file, and samples that it answers rightly."""
    monkeypatch.chdir(tmp_path)
    Path("model_int8.tflite").write_bytes(classifier_model())
    labels = np.arange(30) % 3
    np.savez("test.npz", x=np.eye(3, dtype=np.float32)[labels], y=labels)
    return tmp_path


def gate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_model.py", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_pytest_gate_opens_and_closes(checkout: Path, repository: Path) -> None:
    shutil.copy(checkout / "examples" / "gate" / "test_model.py", repository)
    done = gate("--edgeopt-device", "local")
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
    wrong = np.load("test.npz")
    np.savez("test.npz", x=wrong["x"], y=(wrong["y"] + 1) % 3)
    done = gate("-k", "budget")
    assert done.returncode == 1 and "The budget was missed: min_metric is 0.5, measured 0" in done.stdout


def test_the_commands_of_the_workflow_run(checkout: Path, repository: Path) -> None:
    workflow = (checkout / "examples" / "gate" / "gate.yml").read_text("utf-8")
    commands = re.findall(r"run: edgeopt (.*)", workflow)
    assert [shlex.split(command)[0] for command in commands] == ["validate", "parity", "report"]
    for command in commands:
        words = shlex.split(command)
        assert main([*words, "--seconds", "0.2", "--processes", "1"] if words[0] == "validate" else words) == 0
    assert {"validation.xml", "parity.xml", "report.html"} <= {path.name for path in repository.iterdir()}
