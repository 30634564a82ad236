"""edgeopt runs on a Python of another release than CI's: Debian 13's 3.13, with the newest wheels that pip chooses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ..emulated_pi.apt import Unavailable
from .other_python import PYTHON, build, smoke

# Set where it must run (CI): then a machine that cannot make the root fails the test instead of skipping it.
REQUIRED_VARIABLE = "EDGEOPT_REQUIRE_OTHER_PYTHON"


@pytest.mark.heavy
def test_it_installs_converts_and_validates_on_another_python(tmp_path: Path) -> None:
    try:
        root = build(tmp_path)
    except Unavailable as error:
        (pytest.fail if os.environ.get(REQUIRED_VARIABLE) else pytest.skip)(str(error))
    versions = json.loads(smoke(root))
    assert versions["python"].rpartition(".")[0] == PYTHON
    assert versions["accuracy"] > 0.8


@pytest.mark.parametrize(("value", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_machine_that_cannot_make_the_root_fails_where_it_must_run_and_skips_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv(REQUIRED_VARIABLE, value)
    monkeypatch.setattr("os.getuid", lambda: 1000)
    with pytest.raises(outcome, match="entering another root needs root"):
        test_it_installs_converts_and_validates_on_another_python(tmp_path)
