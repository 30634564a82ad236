"""How results show themselves: in a line at a prompt, as a table in a notebook; never their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from ..errors import printable


class Shown:
    """A short ``repr`` and a notebook's table of what `shown` says; for dataclasses with ``repr=False``."""

    def shown(self) -> Mapping[str, object]:
        """Return what is worth a look, by name; None is left out."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return the class and its facts, in a line."""
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in self._texts().items())})"

    def _repr_html_(self) -> str:
        """Return the facts as a table."""
        rows = self._texts().items()
        cells = "".join(
            f"<tr><th>{escape(name.replace('_', ' '))}</th><td>{escape(text)}</td></tr>" for name, text in rows
        )
        return f"<table><caption>{type(self).__name__}</caption>{cells}</table>"

    def _texts(self) -> dict[str, str]:
        return {name: printable(_text(value)) for name, value in self.shown().items() if value is not None}


def _text(value: object) -> str:
    """Numbers to five digits, the rest as it is."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
