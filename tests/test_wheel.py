"""The wheel holds every module of the checkout, under `edgeopt` only."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

FOLDERS = {"edgeopt": "edgeopt", "converters": "edgeopt/converters", "devices": "edgeopt/devices"}


@pytest.fixture(scope="module")
def wheel_names(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build from a copy, so that the checkout stays clean and builds do not meet."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        if (checkout / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((checkout / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_it_installs_nothing_but_edgeopt(wheel_names: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel_names} == {"edgeopt"}


def test_it_holds_exactly_the_modules_of_the_checkout(checkout: Path, wheel_names: set[str]) -> None:
    expected = {
        f"{package}/{file.relative_to(checkout / folder).as_posix()}"
        for folder, package in FOLDERS.items()
        for file in (checkout / folder).rglob("*")
        if file.suffix in (".py", ".toml", ".typed", ".html", ".jinja") or file.name == "py.typed"
    }
    assert wheel_names == expected
