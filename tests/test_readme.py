"""The README's Python runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.heavy
@pytest.mark.smoke
def test_the_python_block_runs(checkout: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (checkout / "README.md").read_text("utf-8"), re.S)
    script = tmp_path / "readme.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "True" in done.stdout.splitlines()[0]


def test_no_placeholder_is_left(checkout: Path) -> None:
    text = (checkout / "README.md").read_text("utf-8")
    assert not re.search(r"^[A-Z]+_[A-Z]+$", text, re.M)
