"""Whatever a file from outside holds, its reader ends in a result or in one of edgeopt's errors, soon and in little memory."""

from __future__ import annotations

import importlib.util

import pytest

from .hunt import hunt
from .readers import MODULES, load_reader

NAMES = [name for name in sorted(MODULES) if name != "onnx" or importlib.util.find_spec("onnx")]


@pytest.mark.parametrize("name", NAMES)
def test_files_that_were_trouble_once_and_damaged_ones(name):
    reader = load_reader(name)
    if not (files := reader.files()):
        pytest.skip(f"shared data absent: all files of {name} are there")
    found = hunt(name, seed=0, cases=len(files) + reader.cases)
    assert [str(finding) for finding in found.first.values()] == []
    # Both must occur, or the damage tests nothing.
    assert found.accepted > 0
    assert found.refused > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_sources_of_a_reader_are_there(name):
    from .lines import source_files

    assert source_files(load_reader(name).sources)
