"""README and docs/installation.md name the extras that there are."""

from __future__ import annotations

import re

import pytest
import tomllib


@pytest.fixture(scope="module")
def extras(checkout):
    return set(tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])


def test_the_page_says_what_each_extra_is_for_and_where_it_resolves(checkout, extras):
    page = (checkout / "docs" / "installation.md").read_text("utf-8")
    purposes = page.partition("| extra | for |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", purposes, re.M)) == extras
    heads = re.search(r"^\| Python \| versions .*$", page, re.M)
    assert set(re.findall(r"`([\w-]+)`", heads[0])) == extras


def test_readme_names_those_that_a_user_may_want(checkout, extras):
    text = (checkout / "README.md").read_text("utf-8").partition("To install for use")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([\w-]+)`", text)) | set(re.findall(r"\[(\w+)\]'", text))
    assert named == extras - {"test"}
