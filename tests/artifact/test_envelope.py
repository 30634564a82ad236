"""`edgeopt.artifact.envelope`: one JSON envelope for every verb."""

from __future__ import annotations

import json

import pytest

from edgeopt import __version__
from edgeopt.artifact.envelope import SCHEMA_VERSION, envelope, write_json
from edgeopt.errors import OutputError


def test_the_envelope_comes_first_and_the_fields_stay_at_top_level():
    found = envelope("agent", "ok", {"size_bytes": 3})
    assert list(found) == ["schema_version", "tool", "kind", "verdict", "size_bytes"]
    assert found["schema_version"] == SCHEMA_VERSION == 1
    assert found["tool"] == {"name": "edgeopt", "version": __version__}


@pytest.fixture
def result():
    return envelope("devices-remove", "ok", {"device": "käse", "file": "devices.toml"})


def test_a_dash_is_standard_output(result, capsys):
    write_json(result, "-")
    assert json.loads(capsys.readouterr().out) == result


def test_a_path_is_a_file_for_people_too(result, tmp_path):
    write_json(result, str(tmp_path / "r.json"))
    text = (tmp_path / "r.json").read_text("utf-8")
    assert json.loads(text) == result
    assert (
        text.startswith('{\n  "schema_version": 1,\n  "tool": {\n')
        and '  "device": "käse",\n' in text
        and text.endswith("}\n")
    )


def test_a_folder_that_is_not_there(result, tmp_path):
    with pytest.raises(OutputError, match=r"Cannot write .*r\.json: No such file or directory"):
        write_json(result, str(tmp_path / "no" / "r.json"))


def test_what_is_no_json_is_not_written(result, tmp_path):
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        write_json({**result, "a": float("nan")}, str(tmp_path / "r.json"))
    assert not (tmp_path / "r.json").exists()
