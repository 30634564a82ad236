"""Which lines of some files were run: what a reader's damaged files reach of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

CHECKOUT = Path(__file__).resolve().parents[2]
Result = TypeVar("Result")


def source_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files of the checkout that match the patterns."""
    return sorted({path for pattern in patterns for path in CHECKOUT.glob(pattern)})


class LineTracer:
    """Runs calls and notes the lines of the files they pass."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._files = {str(path) for path in source_files(patterns)}
        self._seen: set[tuple[str, int]] = set()

    def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Call the function; only this thread is traced."""
        sys.settrace(self._enter)
        try:
            return function(*arguments)
        finally:
            sys.settrace(None)

    def hits(self) -> dict[str, list[int]]:
        """Return the lines that were run, by the file's path below the checkout."""
        found: dict[str, list[int]] = {}
        for file, line in sorted(self._seen):
            found.setdefault(str(Path(file).relative_to(CHECKOUT)), []).append(line)
        return found

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self._seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def function_lines(path: Path) -> set[int]:
    """Return the lines of a file's functions; those that run at its import are not a matter of its input."""
    module = compile(path.read_text("utf-8"), str(path), "exec")
    return {
        line for code in _functions(module) for _, _, line in code.co_lines() if line and line != code.co_firstlineno
    }


def _functions(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & 0x2:  # CO_NEWLOCALS: a function and not the body of a class
                yield constant
            yield from _functions(constant)
