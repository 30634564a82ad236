"""edgeopt runs on a Python of another release than CI's: Debian 13's 3.13, with the newest wheels that pip chooses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..emulated_pi.apt import Unavailable
from .other_python import PYTHON, build, smoke


@pytest.mark.heavy
def test_it_installs_converts_and_validates_on_another_python(tmp_path: Path) -> None:
    try:
        root = build(tmp_path)
    except Unavailable as error:
        pytest.skip(str(error))
    versions = json.loads(smoke(root))
    assert versions["python"].rpartition(".")[0] == PYTHON
    assert versions["accuracy"] > 0.8
