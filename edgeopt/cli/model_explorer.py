"""``--model-explorer``: what was found of each operator, for Google's Model Explorer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from ..artifact.atomic import write_atomically
from .paths import RESULT, Function


def model_explorer_option(what: str) -> Callable[[Function], Function]:
    """Return what adds ``--model-explorer PATH`` to a command, as the argument `explorer_path`.

    Args:
        what: What is written of each operator.
    """

    def add(function: Function) -> Function:
        return click.option(
            "--model-explorer",
            "explorer_path",
            metavar="PATH",
            type=RESULT,
            help=f"Also write {what} as node data of Model Explorer.",
        )(function)

    return add


def write_node_data(path: str | None, make: Callable[[], Mapping[str, Any]]) -> None:
    """Write what `make` returns where ``--model-explorer`` says, if it says so."""
    if path is not None:
        from ..pages.model_explorer import as_node_data

        write_atomically(path, as_node_data(make()))
