"""What would be published: the sdist suffices to build the wheel, which holds every module, under `edgeopt` only.

`scripts/release` names a folder of files to be published by EDGEOPT_DIST: then those are tested, not ones built here.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest

from edgeopt import __version__

FOLDERS = {"edgeopt": "edgeopt", "converters": "edgeopt/converters", "devices": "edgeopt/devices"}
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"


@dataclass(frozen=True)
class Published:
    """The names in the sdist, below its folder, and the text of each file of the wheel that is no module."""

    sdist: frozenset[str]
    wheel: frozenset[str]
    metadata: dict[str, str]

    @property
    def fields(self) -> Message:
        return email.message_from_string(self.metadata["METADATA"])


@pytest.fixture(scope="module")
def published(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    given = os.environ.get("EDGEOPT_DIST")
    dist = Path(given) if given else built(checkout, tmp_path_factory.mktemp("build"))
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
        metadata = {
            name.partition(".dist-info/")[2]: archive.read(name).decode() for name in inside if ".dist-info/" in name
        }
    return Published(frozenset(names), frozenset(name for name in inside if ".dist-info/" not in name), metadata)


def built(checkout: Path, scratch: Path) -> Path:
    """Build an sdist of a copy, so that the checkout stays clean and builds do not meet, and a wheel of the sdist."""
    source, dist, unpacked = scratch / "source", scratch / "dist", scratch / "unpacked"
    dist.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        if (checkout / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkout / name, source / name)
    build("sdist", source, dist)
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        archive.extractall(unpacked, filter="data")
    build("wheel", next(unpacked.iterdir()), dist)
    return dist


def build(kind: str, source: Path, out: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(kind), str(out)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_it_installs_nothing_but_edgeopt(published: Published) -> None:
    assert {name.split("/")[0] for name in published.wheel} == {"edgeopt"}


def test_it_holds_exactly_the_modules_of_the_checkout(checkout: Path, published: Published) -> None:
    expected = {
        f"{package}/{file.relative_to(checkout / folder).as_posix()}"
        for folder, package in FOLDERS.items()
        for file in (checkout / folder).rglob("*")
        if file.suffix in (".py", ".toml", ".typed", ".html", ".css") or file.name == "py.typed"
    }
    assert "edgeopt/py.typed" in expected
    assert published.wheel == expected


def test_its_metadata_say_what_it_is(published: Published) -> None:
    fields = published.fields
    assert (fields["Name"], fields["Version"]) == ("edgeopt", __version__)
    assert fields["License-Expression"] == "Apache-2.0"
    assert "Apache License" in published.metadata["licenses/LICENSE"]
    assert fields["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in fields.get_all("Classifier", [])
    assert "edgeopt = edgeopt.cli:run" in published.metadata["entry_points.txt"]


def test_the_description_links_to_pages_that_are_there(published: Published) -> None:
    links = re.findall(r"\]\(([^)#]+)", str(published.fields.get_payload()))
    relative = {link for link in links if ":" not in link}
    repository = os.environ.get("EDGEOPT_REPOSITORY")
    if os.environ.get("EDGEOPT_DIST") and repository:
        assert not relative
        assert f"{repository}/blob/v{__version__}/docs/convert.md" in links
        assert f"Source, {repository}" in published.fields.get_all("Project-URL", [])
    else:  # nothing knows the address of the pages, so nothing claims one; the sdist has them
        assert "docs/convert.md" in relative and relative - {"CONTRIBUTING.md"} <= published.sdist
        assert published.fields.get_all("Project-URL") is None


def test_every_python_that_is_allowed_has_its_classifier(published: Published) -> None:
    assert published.fields["Requires-Python"] == "<3.14,>=3.10"
    minors = {
        int(text.rpartition(".")[2])
        for text in published.fields.get_all("Classifier", [])
        if text.startswith("Programming Language :: Python :: 3.")
    }
    assert minors == {10, 11, 12, 13}


def test_the_version_is_written_in_one_place(checkout: Path) -> None:
    assert (
        __version__ not in (checkout / "pyproject.toml").read_text("utf-8").split("[project.optional-dependencies]")[0]
    )


def test_the_sdist_holds_the_sources_and_their_pages_and_nothing_else(checkout: Path, published: Published) -> None:
    top = {name.split("/")[0] for name in published.sdist}
    made = {"PKG-INFO", "setup.cfg", "edgeopt.egg-info"}
    pages = {"CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "docs", "examples", "pyproject.toml"}
    assert top == made | pages | set(FOLDERS)
    assert not [name for name in published.sdist if name.endswith((".pyc", ".so")) or "__pycache__" in name]
    sources = {f.relative_to(checkout).as_posix() for folder in FOLDERS for f in (checkout / folder).rglob("*.py")}
    assert sources <= published.sdist
