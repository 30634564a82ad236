"""The one live display of all verbs, on stderr: what runs now, how far, and about how long."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from ..errors import printable
from .output import console

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from ..devices import Progress
    from ..process.isolation import Event

LOADING = "loading TensorFlow"
_WORDS = {
    "tensorflow": LOADING,
    "samples": "reading the data",
    "pictures": "decoding the images",
    "device": "starting on the device",
    "data": "reading calibration data",
    "load": "loading the model",
    "export": "exporting the model",
    "convert": "converting",
    "calibrate": "measuring ranges on calibration data",
    "quantize": "quantising, and choosing ranges",
    "sensitivity": "trying operators one by one",
    "selective": "trying operators together",
    "recover": "running the float model",
    "recover-equalise": "scaling channels between layers",
    "recover-ranges": "trying other ranges, one by one",
    "recover-bias": "correcting biases, layer by layer",
    "recover-rounding": "rounding weights, layer by layer",
    "fidelity": "comparing the outputs with the model's",
    "baseline": "running the baseline",
    "waiting": "waiting for another job",
    "bench": "timing, in seconds",
    "compare": "timing in turns, in seconds",
    "evaluate": "running samples",
}
_BAR = 20  # columns
# In a file: after how many seconds an activity is worth a line, and after how many more it is worth another.
_WORTH_A_LINE_S, _AGAIN_S = 1.0, 30.0


class Display:
    """Tells what runs: on a terminal in one line that changes, elsewhere in plain lines; see `live`."""

    def __init__(self, out: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """Tell it to `out`."""
        from rich.spinner import Spinner

        self._out, self._clock, self._begun, self._spinner = out, clock, clock(), Spinner("line")
        self._text, self._done, self._since = "", 0, self._begun
        self._total: int | None = None
        self._told: float | None = None  # when the present activity last had a line in a file
        self._lock = threading.RLock()

    def say(self, line: str) -> None:
        """Print a line that stays, behind the time since the start."""
        with self._lock:
            text = f"{self._clock() - self._begun:5.0f} s  {printable(line)}"
            self._out.print(text, markup=False)

    def now(self, text: str, done: int = 0, total: int | None = None) -> None:
        """Tell what runs now, and how far it is: `done` of `total`, or without a known end."""
        with self._lock:
            if text != self._text:
                self._text, self._since, self._told = text, self._clock(), None
            self._done, self._total = done, total

    def event(self, event: Event) -> None:
        """Tell what a conversion or a child process says of itself: {``stage``, ``done``, ``total``}."""
        if "stage" in event:
            stage = str(event["stage"])
            self.now(_WORDS.get(stage, stage), event.get("done", 0), event.get("total"))

    def progress(self, event: Progress) -> None:
        """Tell a sign of life of a device or a training."""
        self.now(_WORDS.get(event.stage, event.stage), event.done, event.total)

    def beat(self) -> None:
        """In a file: give a line to what has been running for a while; to be called every second or so."""
        with self._lock:
            waited = self._clock() - (self._since if self._told is None else self._told)
            if waited >= (_WORTH_A_LINE_S if self._told is None else _AGAIN_S):
                self._line()

    def _line(self) -> None:
        self._told = self._clock()
        counted = f" ({self.how_far()})" if self._total or self._told - self._since >= _AGAIN_S else ""
        self.say(self._text + counted)

    def how_far(self) -> str:
        """Return how far it is, since when it runs, and about how long it still takes."""
        elapsed = self._clock() - self._since
        parts = [f"{elapsed:.0f} s"]
        if self._total:
            parts.insert(0, f"{self._done} of {self._total}")
            if 0 < self._done < self._total and elapsed >= 1:
                parts.append(f"about {elapsed * (self._total - self._done) / self._done:.0f} s left")
        return ", ".join(parts)

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the line of a terminal; what is too long for it loses the end of its text."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tail, bar = Text(self.how_far(), "dim"), _BAR if self._total else 0
        text = Text(printable(self._text), no_wrap=True)
        text.truncate(max(options.max_width - len(tail) - bar - 5, 8), overflow="ellipsis")
        drawn = [ProgressBar(self._total, min(self._done, self._total), width=bar)] if self._total else []
        row = Table.grid(padding=(0, 1))
        row.add_row(self._spinner, text, *drawn, tail)
        yield row


@contextmanager
def live(text: str = LOADING) -> Iterator[Display]:
    """Show a `Display` for as long as the context lasts, beginning with `text`; in a file when that takes a second."""
    stream = _own_stderr()
    out = console(stderr=True, file=stream)
    display = Display(out)
    display.now(text)
    try:
        if out.is_terminal:
            from rich.live import Live

            with Live(get_renderable=lambda: display, console=out, transient=True, refresh_per_second=5):
                yield display
        else:
            with _beating(display):
                yield display
    finally:
        if stream is not None:
            stream.close()


@contextmanager
def _beating(display: Display) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.25):
            display.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _own_stderr() -> IO[str] | None:
    """Return stderr by a descriptor of its own, for descriptor 2 leads nowhere while TensorFlow loads; or None."""
    try:
        if sys.stderr.fileno() == 2:
            return os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors="replace", buffering=1)
    except (AttributeError, OSError, ValueError):  # a stand-in of a test or of a notebook
        pass
    return None
