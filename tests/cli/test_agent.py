"""``edgeopt agent``."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeopt.cli.main import main


def test_it_writes_a_program_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "edgeopt-agent.pyz"
    assert main(["agent", "-o", str(target)]) == 0
    assert "bench model.tflite" in capsys.readouterr().out
    done = subprocess.run([sys.executable, target, "info", "--json"], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["board"]["cores"] >= 1


def test_its_hash_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.pyz"
    assert main(["agent", "-o", str(target), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert found["size_bytes"] == target.stat().st_size and found["protocol"] == 2


def test_it_does_not_overwrite_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.pyz"
    target.write_text("mine")
    assert main(["agent", "-o", str(target)]) == 2
    assert "exists already; pass --force" in capsys.readouterr().err and target.read_text() == "mine"
    assert main(["agent", "-o", str(target), "--force"]) == 0 and target.read_bytes()[:2] == b"#!"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "-o", str(tmp_path / "no" / "a.pyz")]) == 2
    assert "does not exist; create it first" in capsys.readouterr().err
