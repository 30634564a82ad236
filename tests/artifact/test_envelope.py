"""`edgeopt.artifact.envelope`: one JSON envelope for every verb."""

from __future__ import annotations

import json

import pytest

from edgeopt import __version__
from edgeopt.artifact.envelope import SCHEMA_VERSION, envelope, write_json
from edgeopt.errors import OutputError


def test_the_envelope_comes_first_and_the_fields_stay_at_top_level():
    found = envelope("ok", {"size_bytes": 3})
    assert list(found) == ["schema_version", "tool", "verdict", "size_bytes"]
    assert found["schema_version"] == SCHEMA_VERSION == 1
    assert found["tool"] == {"name": "edgeopt", "version": __version__}


def test_a_dash_is_standard_output(capsys):
    write_json({"name": "käse"}, "-")
    assert json.loads(capsys.readouterr().out) == {"name": "käse"}


def test_a_path_is_a_file(tmp_path):
    write_json({"a": 1}, str(tmp_path / "r.json"))
    assert json.loads((tmp_path / "r.json").read_text()) == {"a": 1}


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match=r"Cannot write .*r\.json: No such file or directory"):
        write_json({}, str(tmp_path / "no" / "r.json"))


def test_what_is_no_json_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        write_json({"a": float("nan")}, str(tmp_path / "r.json"))
    assert not (tmp_path / "r.json").exists()


def test_the_text_is_for_people_too(tmp_path, capsys):
    text = '{\n  "name": "käse",\n  "of": [\n    1\n  ]\n}\n'
    write_json({"name": "käse", "of": [1]}, "-")
    write_json({"name": "käse", "of": [1]}, str(tmp_path / "r.json"))
    assert capsys.readouterr().out == text == (tmp_path / "r.json").read_text("utf-8")
