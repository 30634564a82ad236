"""Trying a reader with damaged files, in processes of their own that may die, hang or run out of memory."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .lines import CHECKOUT, function_lines, source_files
from .readers import load_reader
from .worker import make_case

LIMIT_S = 5.0  # CPU time of one case: what other processes do is no matter
LIMIT_BYTES = 1 << 30  # resident, above what the process has after its imports
# A case that not even a signal ends is killed, and the next process goes on behind it: after twice the limit of CPU
# time, or of one that computes nothing after so long on the clock.
_SILENCE_S = 60.0
_STARTING_S = 180.0  # TensorFlow's import, on a busy machine
_ONE_PROCESS = 200_000  # cases


@dataclass(frozen=True)
class Finding:
    """A case that ended in neither a result nor an `EdgeoptError`.

    Attributes:
        kind: Name of the foreign exception or of the signal, "slow", "memory" or "hang".
        case: Its number.
        place: The last line of edgeopt's in its traceback, by which findings are told apart.
        trace: The traceback.
        data: The file.
    """

    kind: str
    case: int
    place: str
    trace: str
    data: bytes = field(repr=False)

    def __str__(self) -> str:
        """Return the finding in a line."""
        last = self.trace.strip().splitlines()[-1][:200] if self.trace.strip() else ""
        return f"case {self.case} ({len(self.data)} bytes): {self.kind} at {self.place or '?'}: {last}"


@dataclass
class Hunt:
    """What came of the cases of one reader."""

    reader: str
    seed: int
    files: int = 0
    cases: int = 0
    accepted: int = 0
    refused: int = 0
    crashes: int = 0  # of a reader that has its own process in edgeopt too
    seconds: float = 0.0
    slowest_s: float = 0.0
    peak_bytes: int = 0
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: dict[tuple[str, str], Finding] = field(default_factory=dict)
    lines: dict[str, set[int]] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it if it is the first of its kind and place."""
        key = (finding.kind, finding.place)
        self.findings[key] += 1
        self.first.setdefault(key, finding)

    def coverage(self) -> tuple[int, int]:
        """Return how many lines of the functions of the reader's files were run, and how many there are."""
        hit = total = 0
        for path in source_files(load_reader(self.reader).sources):
            lines = function_lines(path)
            hit += len(lines & self.lines.get(str(path.relative_to(CHECKOUT)), set()))
            total += len(lines)
        return hit, total

    def save(self, folder: Path) -> None:
        """Write the first finding of each kind and place: the file, and how it is had again."""
        for number, finding in enumerate(self.first.values()):
            stem = folder / f"{self.reader}-{self.seed}-{finding.case}-{finding.kind}-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            stem.with_suffix(".bin").write_bytes(finding.data)
            again = f"scripts/fuzz --again {self.reader} {self.seed} {finding.case}"
            stem.with_suffix(".txt").write_text(f"{again}\n{finding}\n\n{finding.trace}")


def hunt(
    name: str,
    seed: int,
    cases: int,
    seconds: float = float("inf"),
    trace_every: int = 0,
    limits: tuple[float, int] = (LIMIT_S, LIMIT_BYTES),
) -> Hunt:
    """Try a reader with `cases` cases, or for so many seconds if that ends sooner.

    Args:
        name: The reader.
        seed: Of the damage.
        cases: How many cases, the files as they are among them.
        seconds: On the clock.
        trace_every: Note the lines that each so-manieth case runs; 0 for none.
        limits: What a case may take: CPU time in seconds, memory in bytes.
    """
    found = Hunt(name, seed)
    begin, first = time.monotonic(), 0
    while first < cases and time.monotonic() - begin < seconds:
        with tempfile.TemporaryDirectory(prefix="edgeopt-fuzz-") as folder:
            left = begin + seconds - time.monotonic()
            numbers = range(first, min(cases, first + _ONE_PROCESS))
            run = _Process(found, numbers, Path(folder), [left, trace_every, *limits])
            first = run.watch()
    found.seconds = time.monotonic() - begin
    return found


class _Process:
    """One worker."""

    def __init__(self, found: Hunt, cases: range, folder: Path, limits: Sequence[float]) -> None:
        self._found, self._first = found, cases.start
        self._limit_s = limits[2]
        self._current = folder / "current"
        self._tally: dict[str, Any] = {}
        command = [sys.executable, "-m", f"{__package__}.worker", found.reader, str(found.seed), str(cases.start)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(folder)}
        self._log = (folder / "stderr").open("w+b")
        self._process = subprocess.Popen(
            [*command, str(len(cases)), str(folder), *map(str, limits)],
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )

    def watch(self) -> int:
        """Take in what the process says until it ends; return the number of the case to go on with."""
        try:
            end = self._listen()
        finally:
            self._kill()
        tally = self._tally
        self._found.cases += tally.get("cases", 0)
        self._found.accepted += tally.get("accepted", 0)
        self._found.refused += tally.get("refused", 0)
        self._found.slowest_s = max(self._found.slowest_s, tally.get("slowest_s", 0.0))
        return self._first + tally.get("cases", 0) if end is None else end

    def _kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()

    def _listen(self) -> int | None:
        """Return the case to go on with after a death or a hang; None if the process did what it was to do."""
        stream: Any = self._process.stdout
        os.set_blocking(stream.fileno(), False)
        buffer, case, since, spent = b"", -1, time.monotonic(), 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while True:
                ready = selector.select(timeout=1.0)
                chunk = stream.read() if ready else None
                if chunk == b"":
                    return self._died()
                *lines, buffer = (buffer + (chunk or b"")).split(b"\n")
                if any([self._take(json.loads(line)) for line in lines]):
                    return None
                now, (at, *_) = time.monotonic(), self._noted()
                if at != case:
                    case, since, spent = at, now, self._cpu_s()
                elif at < 0 and now - since > _STARTING_S:
                    raise RuntimeError(f"the worker of {self._found.reader} did not start: {self._stderr()}")
                elif at >= 0 and (now - since > _SILENCE_S or self._cpu_s() - spent > 2 * self._limit_s):
                    return self._ended("hang", f"no end after {now - since:.0f} s\n")

    def _take(self, message: dict[str, Any]) -> bool:
        """Take in one line; return whether it is the last."""
        found = self._found
        found.files = message.get("files", found.files)
        self._tally = message.get("tally", self._tally)
        if "finding" in message:
            trace = message["trace"]
            found.add(
                Finding(message["finding"], message["case"], _place(trace), trace, bytes.fromhex(message["data"]))
            )
        found.peak_bytes = max(found.peak_bytes, message.get("peak_bytes", 0))
        for file, lines in message.get("lines", {}).items():
            found.lines.setdefault(file, set()).update(lines)
        return "end" in message

    def _cpu_s(self) -> float:
        """Return the CPU time that the process has taken."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _noted(self) -> tuple[int, int, int]:
        """Return the case that is read, and how many before it were accepted and refused."""
        try:
            at, accepted, refused = map(int, self._current.read_bytes().split())
        except (FileNotFoundError, ValueError):
            return -1, 0, 0
        return at, accepted, refused

    def _stderr(self) -> str:
        self._log.flush()
        self._log.seek(0)
        return self._log.read()[-3000:].decode(errors="replace")

    def _died(self) -> int:
        code = self._process.wait()
        if self._noted()[0] < 0:
            raise RuntimeError(f"the worker of {self._found.reader} did not start: {self._stderr()}")
        return self._ended(signal.Signals(-code).name if code < 0 else f"exit {code}", self._stderr())

    def _ended(self, kind: str, trace: str) -> int:
        case, accepted, refused = self._noted()
        self._tally.update(cases=case + 1 - self._first, accepted=accepted, refused=refused)
        reader = load_reader(self._found.reader)
        if reader.in_child and kind.startswith("SIG"):
            self._found.crashes += 1
        else:
            data = make_case(reader, list(reader.files().values()), self._found.seed, case)
            self._found.add(Finding(kind, case, _place(trace), trace, data))
        return case + 1


def _place(trace: str) -> str:
    """Return the file and line of edgeopt's that a traceback ends in."""
    rooms = ("/edgeopt/", "/converters/", "/devices/")
    lines = [line.strip() for line in trace.splitlines() if line.strip().startswith('File "')]
    own = [
        line for line in lines if str(CHECKOUT) in line and any(room in line for room in rooms) and "/.venv" not in line
    ]
    if not own:
        return ""
    path, number = own[-1].split('"')[1], own[-1].split("line ")[1].split(",")[0]
    return f"{Path(path).relative_to(CHECKOUT)}:{number}"
