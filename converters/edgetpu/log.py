"""What edgetpu_compiler prints, as data.

It prints one block a model (several models, or the segments of one), each with sizes, counts and, under ``-s``, a table
of operators. With ``--search_delegate`` the blocks of attempts that failed come before the one that counts.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ...errors import printable

MAPPED_STATUS = "Mapped to Edge TPU"

_VERSION = re.compile(r"^Edge TPU Compiler version (\S+)", re.MULTILINE)
_FIELD = re.compile(r"^(Input(?: model)?|Output(?: model)?|[A-Z][^:\n]{3,70}): (\S.*)$")
_ROW = re.compile(r"^(\S+)\s+(\d{1,15})\s{2,}(\S.*)$", re.ASCII)
_SIZE = re.compile(r"^(\d{1,15}(?:\.\d{1,15})?)\s*(B|KiB|MiB|GiB)$", re.ASCII)
_COUNT = re.compile(r"\d{1,15}", re.ASCII)
_TIME = re.compile(r"compiled successfully in (\d{1,15}) ms", re.ASCII)
_LONGEST_LINE = 1000  # characters; of a longer one nothing is known
_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZES = {
    "Input size": "input_bytes",
    "Output size": "output_bytes",
    "On-chip memory used for caching model parameters": "cached_bytes",
    "On-chip memory remaining for caching model parameters": "remaining_bytes",
    "Off-chip memory used for streaming uncached model parameters": "streamed_bytes",
}
_COUNTS = {
    "Number of Edge TPU subgraphs": "subgraphs",
    "Total number of operations": "operations",
    "Number of operations that will run on Edge TPU": "mapped",
    "Number of operations that will run on CPU": "on_cpu",
}
_ERROR_WORDS = ("ERROR:", "Internal compiler error", "Compilation failed", "Invalid model", "Model not quantized",
                "Model could not be parsed", "Error", "error while loading")  # fmt: skip


@dataclass(frozen=True)
class LogRow:
    """One line of the table of operators."""

    op: str
    count: int
    status: str


@dataclass(frozen=True)
class ModelLog:
    """What is printed of one model or segment; None where it is not.

    Sizes are as printed, rounded to two decimals of their unit.
    """

    input_name: str = ""
    output_name: str = ""
    input_bytes: int | None = None
    output_bytes: int | None = None
    cached_bytes: int | None = None
    remaining_bytes: int | None = None
    streamed_bytes: int | None = None
    subgraphs: int | None = None
    operations: int | None = None
    mapped: int | None = None
    on_cpu: int | None = None
    rows: tuple[LogRow, ...] = ()

    @property
    def mapped_ops(self) -> dict[str, int]:
        """Histogram of the operators that were mapped, from the table."""
        return _histogram(row for row in self.rows if row.status == MAPPED_STATUS)

    @property
    def cpu_ops(self) -> dict[str, int]:
        """Histogram of the operators that were left on the CPU, from the table."""
        return _histogram(row for row in self.rows if row.status != MAPPED_STATUS)

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON holds them."""
        return {**vars(self), "rows": [vars(row) for row in self.rows]}


@dataclass(frozen=True)
class CompilerLog:
    """A whole log.

    Attributes:
        version: The compiler's version; "" where it was not printed.
        models: One entry a compiled model or segment, in order.
        errors: Lines that state a failure, in order; those of abandoned attempts included.
        milliseconds: As printed; None for a failure.
    """

    version: str
    models: tuple[ModelLog, ...]
    errors: tuple[str, ...]
    milliseconds: int | None

    @property
    def succeeded(self) -> bool:
        """Whether at least one model was compiled, in the compiler's own words."""
        return self.milliseconds is not None

    def mentions(self, words: str) -> bool:
        """Return whether an error line holds these words."""
        return any(words in line for line in self.errors)


def parse_log(text: str) -> CompilerLog:
    """Return the data in a log, of the console or of a ``_edgetpu.log`` file; text of another kind gives an empty one.

    Example:
        >>> parse_log(console).models[0].cpu_ops
        {'DEQUANTIZE': 2}
    """
    lines = [printable(line.strip()[:_LONGEST_LINE]) for line in text.splitlines()]
    text = "\n".join(lines)
    version, time = _VERSION.search(text), _TIME.findall(text)
    return CompilerLog(
        version=version.group(1) if version else "",
        models=_models(lines),
        errors=tuple(line for line in lines if any(word in line for word in _ERROR_WORDS)),
        milliseconds=int(time[-1]) if time else None,
    )


def _models(lines: list[str]) -> tuple[ModelLog, ...]:
    blocks: list[dict[str, Any]] = []
    for line in lines:
        field, row = _FIELD.match(line), _ROW.match(line)
        if field and field.group(1) in ("Input model", "Input"):
            blocks.append({"input_name": field.group(2)})
        elif field and blocks:
            blocks[-1].update(_value(field.group(1), field.group(2)))
        elif row and blocks and row.group(1) != "Operator":
            blocks[-1].setdefault("rows", []).append(LogRow(row.group(1), int(row.group(2)), row.group(3)))
    return tuple(_model(block) for block in blocks)


def _value(name: str, text: str) -> dict[str, Any]:
    if name in ("Output model", "Output"):
        return {"output_name": text}
    size = _SIZE.match(text)
    if name in _SIZES and size:
        return {_SIZES[name]: round(float(size.group(1)) * _UNITS[size.group(2)])}
    if name in _COUNTS and _COUNT.fullmatch(text):
        return {_COUNTS[name]: int(text)}
    return {}


def _model(block: dict[str, Any]) -> ModelLog:
    """Return one block; a fully mapped model prints no counts of its own."""
    rows = tuple(block.pop("rows", ()))
    if rows and "mapped" not in block:
        block["mapped"] = sum(row.count for row in rows if row.status == MAPPED_STATUS)
        block["on_cpu"] = sum(row.count for row in rows if row.status != MAPPED_STATUS)
    return ModelLog(**block, rows=rows)


def _histogram(rows: Any) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.op] += row.count
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
