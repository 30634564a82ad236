"""Write docs/schemas, the JSON Schema of every kind of result, from `edgeopt.schemas`: `python scripts/schemas.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeopt.schemas import KINDS, schema

_SHORT = 300  # characters of what stands on one line
FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"


def text_of(value: Any, depth: int = 0) -> str:
    """Return a schema as text: the fields of larger objects on lines of their own, all else on one."""
    short = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict) or (len(short) < _SHORT and depth) or depth > 3:
        return short
    inner = "  " * (depth + 1)
    lines = [f"{inner}{json.dumps(name)}: {text_of(item, depth + 1)}" for name, item in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + "  " * depth + "}"


def pages() -> dict[str, str]:
    """Return the text of each file, by its name."""
    return {f"{kind}.json": text_of(schema(kind)) + "\n" for kind in KINDS}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
