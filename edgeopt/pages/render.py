"""From a page to one HTML file that needs nothing else."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from .._version import __version__
from ..errors import UsageError, printable
from .document import Page


def render(page: Page) -> str:
    """Return a page as HTML: no script, nothing from elsewhere, and every text of the page escaped.

    Raises:
        UsageError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment
        from markupsafe import Markup
    except ImportError as error:
        raise UsageError("A page needs Jinja2, which is not installed: pip install 'edgeopt[report]'.") from error
    folder = files(__package__)
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=_tame
    )
    template = environment.from_string((folder / "page.html").read_text("utf-8"))
    style = Markup((folder / "style.css").read_text("utf-8"))
    return template.render(page=page, style=style, version=__version__)


def _tame(value: Any) -> Any:
    """Return a value without what could steer a text that surrounds it, such as marks that turn its direction."""
    if type(value) is not str:
        return value
    return "\n".join(printable(line) for line in value.split("\n"))
