"""The README is short and names what exists; tests/docs runs its blocks."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest


def test_it_is_read_to_its_end_and_names_every_verb(checkout: Path) -> None:
    from edgeopt.cli.main import VERBS

    text = (checkout / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 140
    assert {verb for verb in VERBS if f"`{verb}`" not in text} <= {"demo"}


def test_no_placeholder_is_left(checkout: Path) -> None:
    text = (checkout / "README.md").read_text("utf-8")
    assert not re.search(r"^[A-Z]+_[A-Z]+$", text, re.M)


IMPORT = re.compile(r"^\s*(?:>>> )?from (edgeopt[\w.]*) import (\w+(?:, \w+)*)$", re.M)
DOTTED = re.compile(r"\bedgeopt(?:\.[A-Za-z_]\w*)+")
# Where earlier pages have imported from; files by names that look like modules.
EARLIER = {"edgeopt.passes.base.PassContext", "edgeopt.passes.training.Training"}
NO_NAMES = {"edgeopt.tflite"}


def documented(checkout: Path) -> set[str]:
    """Every dotted name of edgeopt that README, CONTRIBUTING and docs name."""
    found = set(EARLIER)
    for page in (checkout / "README.md", checkout / "CONTRIBUTING.md", *sorted((checkout / "docs").rglob("*.md"))):
        text = page.read_text("utf-8")
        found |= {f"{module}.{name}" for module, names in IMPORT.findall(text) for name in names.split(", ")}
        found |= set(DOTTED.findall(text))
    return found - NO_NAMES


def resolve(dotted: str) -> object:
    """Import what `dotted` names: a module, or what lies in one."""
    module, names = dotted, []
    while True:
        try:
            found: object = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            names.insert(0, last)
    for name in names:
        found = getattr(found, name)
    return found


def test_every_path_that_the_pages_name_can_be_imported(checkout: Path) -> None:
    names = documented(checkout)
    assert len(names) > 20
    missing = []
    for name in sorted(names):
        try:
            resolve(name)
        except (ImportError, AttributeError):
            missing.append(name)
    assert not missing


def test_a_path_that_is_gone_is_found() -> None:
    with pytest.raises(AttributeError, match="no attribute 'artifact_io'"):
        resolve("edgeopt.artifact_io.write_atomically")
