"""Progress of a device as bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .output import console

if TYPE_CHECKING:
    from ..devices import Progress

_STAGES = {
    "waiting": "waiting for another job",
    "bench": "timing (s)",
    "compare": "timing in turns (s)",
    "evaluate": "running samples",
}


@contextmanager
def progress_bars() -> Iterator[Callable[[Progress], None]]:
    """Show a bar a stage, on stderr; silent when stderr is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    err = console(stderr=True)
    tasks: dict[str, Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:

        def show(event: Progress) -> None:
            if event.stage not in tasks:
                tasks[event.stage] = bars.add_task(_STAGES.get(event.stage, event.stage), total=event.total)
            bars.update(tasks[event.stage], completed=event.done, total=event.total)

        yield show
