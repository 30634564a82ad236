"""``--junit``: the verdict of a verb for a build server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from ..artifact.atomic import write_atomically
from .paths import RESULT, Function


def junit_option(function: Function) -> Function:
    """Add ``--junit PATH`` to a command, as the argument `junit_path`; checked before anything slow runs."""
    return click.option(
        "--junit",
        "junit_path",
        metavar="PATH",
        type=RESULT,
        help="Also write the verdict as JUnit XML, a case a limit, for a build server.",
    )(function)


def write_junit(path: str | None, verb: str, result: Mapping[str, Any], **judged: bool) -> None:
    """Write the verdict where ``--junit`` says, if it says so.

    Args:
        path: As `junit_option` gives it.
        verb: Which verb.
        result: What its ``--json`` writes.
        **judged: ``proven`` and ``strict``, as `edgeopt.pages.junit.cases_of` takes them.
    """
    if path is None:
        return
    from ..pages.junit import cases_of, junit

    facts = {"edgeopt": result["tool"]["version"], "verdict": result["verdict"]}
    facts |= {name: result[name] for name in ("sha256", "device") if isinstance(result.get(name), str)}
    write_atomically(path, junit(verb, cases_of(verb, result, **judged), facts))
