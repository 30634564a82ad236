"""A result's JSON, held against the schema of its kind."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from edgeopt.schemas import schema


@cache
def validator(kind: str) -> Draft202012Validator:
    """The validator of a kind of result, whose schema is itself held against the standard's."""
    found = schema(kind)
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def faults(found: Any) -> list[str]:
    """Say what of a result is not as its schema says, and where."""
    errors = validator(found["kind"]).iter_errors(found)
    return [f"{'.'.join(map(str, error.absolute_path)) or 'the result'}: {error.message}" for error in errors]


def hold(text: str) -> None:
    """Fail unless the JSON of a result is as its schema says.

    A sidecar that a test made up by hand, which no recipe stands behind, is no result of ``convert``.
    """
    found = json.loads(text)
    if found["kind"] == "convert" and "recipe" not in found:
        return
    wrong = faults(found)
    assert not wrong, f"--json of {found['kind']!r} is not as edgeopt/schemas says: {wrong[:5]}"
