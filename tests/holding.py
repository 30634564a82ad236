"""A result's JSON, held against the schema of its kind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
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

    A sidecar that a test made up by hand, which no recipe stands behind, may lack fields.
    """
    found = json.loads(text)
    wrong = faults(found)
    if found["kind"] == "convert" and "recipe" not in found:
        wrong = [fault for fault in wrong if not fault.endswith(" is a required property")]
    assert not wrong, f"--json of {found['kind']!r} is not as edgeopt/schemas says: {wrong[:5]}"


def hold_child(words: Any, folder: Any, printed: Any) -> None:
    """Hold what a child process has written with ``--json``: what it printed, or the file.

    Args:
        words: Its arguments.
        folder: Where it ran; None for here.
        printed: On standard output, as text or bytes; or None.
    """
    texts = [printed.decode(errors="replace") if isinstance(printed, bytes) else printed or ""]
    named = [str(word) for word in words] if isinstance(words, (list, tuple)) else []
    for option, name in pairwise(named):
        path = Path(folder or ".") / name
        if option == "--json" and path.is_file():
            texts.append(path.read_text("utf-8"))
    for text in texts:
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict) and "schema_version" in found:
            hold(text)


@contextmanager
def children_held() -> Iterator[None]:
    """Hold what every child process that is waited for has written."""
    begin, end = subprocess.Popen.__init__, subprocess.Popen.communicate

    def begun(self: Any, args: Any, *rest: Any, **options: Any) -> None:
        self.held_folder = options.get("cwd")
        begin(self, args, *rest, **options)

    def ended(self: Any, *rest: Any, **options: Any) -> Any:
        written = end(self, *rest, **options)
        hold_child(self.args, self.held_folder, written[0])
        return written

    subprocess.Popen.__init__, subprocess.Popen.communicate = begun, ended  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        subprocess.Popen.__init__, subprocess.Popen.communicate = begin, end  # type: ignore[method-assign]
