"""Arguments that are paths: refused while they are read, before any option that is wrong; completed by the Tab key."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..artifact.atomic import refuse_to_overwrite
from ..errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])


class Given(click.Path):
    """A path that is looked at while it is read; what it leads to is for the verb."""

    def __init__(self, refuse: Callable[[str], None]) -> None:
        super().__init__()
        self._refuse = refuse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path as it was given."""
        self._refuse(value)
        return value


def _model(path: str) -> None:
    if not os.path.exists(path):
        from ..models.detect import detect

        detect(path)  # says what was expected


def _data(name: str) -> None:
    from ..data.dataset import check_named

    check_named(name)


def there(what: str) -> Given:
    """Return the type of a path at which `what` is expected, such as "a .tflite file"."""

    def refuse(path: str) -> None:
        if not os.path.exists(path):
            raise UsageError(f"{path} does not exist; expected {what}.")

    return Given(refuse)


def path_argument(name: str, kind: Given, **options: Any) -> Callable[[Function], Function]:
    """Add an argument that is looked at before any option but --help."""
    return click.argument(name, type=kind, is_eager=True, **options)


def _writable(path: str) -> None:
    if path != "-":
        refuse_to_overwrite(path, force=True)


MODEL, DATA, FILE = Given(_model), Given(_data), there("a .tflite file")
# Where a result is to be written beside what is printed: refused before the minutes that it takes.
RESULT = Given(_writable)
