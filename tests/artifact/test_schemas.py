"""`edgeopt.schemas`: what is published is current, closed, and notices what is planted."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

import pytest

import edgeopt
from edgeopt.artifact.envelope import envelope, write_json
from edgeopt.errors import UsageError
from edgeopt.schemas import KINDS, schema
from edgeopt.schemas.derive import Definitions, object_schema, schema_of

from ..holding import faults, hold, validator

SCRIPT = Path(__file__).parents[2] / "scripts" / "schemas.py"


def test_what_is_published_is_current_and_of_every_kind():
    made = runpy.run_path(str(SCRIPT))
    found = {file.name: file.read_text("utf-8") for file in made["FOLDER"].glob("*.json")}
    assert found == made["pages"](), "run python scripts/schemas.py"
    assert found.keys() == {f"{kind}.json" for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_a_schema_and_closed(kind):
    found = validator(kind).schema
    assert found["required"][:3] == ["schema_version", "tool", "kind"] and "verdict" in found["required"]
    for part in (found, *found["$defs"].values()):
        assert part["additionalProperties"] is False and part["description"]
    assert "Attributes" not in json.dumps(found)


@pytest.fixture
def inspected(shared_data):
    return json.loads(json.dumps(edgeopt.inspect(shared_data / "kws" / "ref_int8.tflite").to_dict()))


def test_a_field_too_many_too_few_or_of_another_type_is_noticed(inspected):
    assert faults(inspected) == []
    assert faults({**inspected, "more": 1}) == [
        "the result: Additional properties are not allowed ('more' was unexpected)"
    ]
    assert faults({**inspected, "macs": "many"}) == ["macs: 'many' is not of type 'integer'"]
    del inspected["memory"]["live"]
    assert faults(inspected) == ["memory: 'live' is a required property"]


def test_what_a_test_has_written_is_held_against_its_schema(tmp_path):
    with pytest.raises(AssertionError, match=r"--json of 'agent' is not as edgeopt/schemas says: .*'protocol'"):
        write_json(envelope("agent", "ok", {"agent": "a", "size_bytes": 1, "sha256": ""}), str(tmp_path / "a.json"))
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("where", ["-", "a.json"])
def test_what_a_child_process_has_written_is_held_as_well(tmp_path, where):
    text = json.dumps(envelope("agent", "ok", {"agent": "a", "size_bytes": 1, "sha256": ""}))
    code = "import sys; (print if sys.argv[2] == '-' else open(sys.argv[2], 'w').write)(sys.argv[3])"
    with pytest.raises(AssertionError, match=r"--json of 'agent' is not as .*'protocol' is a required"):
        subprocess.run([sys.executable, "-c", code, "--json", where, text], cwd=tmp_path, stdout=subprocess.PIPE)


def test_a_sidecar_made_by_hand_may_lack_fields_and_has_none_that_is_wrong():
    made = {"kind": "convert", "macs": "many"}
    with pytest.raises(AssertionError, match="macs: 'many' is not of type 'integer'"):
        hold(json.dumps(made))
    hold(json.dumps({**made, "macs": 3}))


def test_an_unknown_kind_is_told_with_the_nearest():
    with pytest.raises(UsageError, match=r"Unknown kind of result 'converted'.*convert"):
        schema("converted")


@dataclass
class Point:
    """A point.

    Attributes:
        x: Its place, in
            metres.
    """

    x: float
    y: tuple[int, ...] = ()


class _More(TypedDict, total=False):
    inner: Point | None


class Table(_More):
    """A table."""

    pair: tuple[int, str]
    words: Literal["a", "b"]
    counts: dict[str, int | None]


def test_types_become_what_json_schema_has_for_them():
    known = Definitions()
    found = object_schema(Table, known)
    assert found == {
        "description": "A table.",
        "type": "object",
        "properties": {
            "inner": {"anyOf": [{"$ref": "#/$defs/Point"}, {"type": "null"}]},
            "pair": {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "items": False,
                "minItems": 2,
            },
            "words": {"enum": ["a", "b"]},
            "counts": {"type": "object", "additionalProperties": {"type": ["integer", "null"]}},
        },
        "required": ["pair", "words", "counts"],
        "additionalProperties": False,
    }
    assert known.schemas["Point"]["properties"] == {
        "x": {"type": "number", "description": "Its place, in metres."},
        "y": {"type": "array", "items": {"type": "integer"}},
    }
    with pytest.raises(TypeError, match="is no type that JSON has"):
        schema_of(bytes, known)
