"""The process that reads damaged files, within limits; what it finds it says in JSON lines on stdout.

    python -m tests.fuzz.worker READER SEED FIRST COUNT FOLDER SECONDS TRACE_EVERY LIMIT_S LIMIT_BYTES

Case number i is file i as it is while there are so many, and a damaged one from then on. Before each case its number
and what came of those before are written to FOLDER/current, so that whoever started the process knows which one it died
or hangs in.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeopt.errors import EdgeoptError

from .lines import LineTracer
from .readers import Reader, load_reader

_ADDRESS_SPACE = 3 << 30  # where an allocation fails, so that no case takes the machine along
_REPORT_S = 1.0
_MOST_MESSAGE = 2000


class Overtime(BaseException):
    """A case took longer than it may."""


def make_case(reader: Reader, files: Sequence[bytes], seed: int, index: int) -> bytes:
    """Return the bytes of case `index`; what was no trouble before is damaged four times in five."""
    if index < len(files):
        return files[index]
    rng = random.Random(f"{seed}/{index}")
    seeds = len(reader.made)
    return reader.mutate(rng.choice(files[:seeds] if seeds and rng.random() < 0.8 else files), files, rng)


def attempt(reader: Reader, data: bytes, limit_s: float) -> tuple[str, str]:
    """Read `data`; return ("accepted" or "refused", "") or the kind of a finding and its traceback."""
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        reader.read(data)
        return "accepted", ""
    except Overtime:
        return "slow", traceback.format_exc()
    except EdgeoptError as error:
        # The bare class is what a foreign exception becomes on its way out of a child process.
        fine = type(error) is not EdgeoptError and 0 < len(str(error)) <= _MOST_MESSAGE
        return ("refused", "") if fine else (type(error).__name__, traceback.format_exc())
    except Exception as error:
        return type(error).__name__, traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _overtime(*_: object) -> None:
    raise Overtime


def say(message: dict[str, Any]) -> None:
    """Write one line to whoever started this process."""
    _CHANNEL.write(json.dumps(message) + "\n")
    _CHANNEL.flush()


def resident_bytes() -> int:
    """Return the most memory that this process has had; unlike getrusage, without its parent's."""
    with open("/proc/self/status", "rb") as stream:
        return int(stream.read().partition(b"VmHWM:")[2].split(None, 1)[0]) * 1024


def run(name: str, seed: int, cases: range, folder: Path, limits: Sequence[str]) -> None:
    """Try so many cases, or for so many seconds."""
    seconds, trace_every, limit_s, limit_bytes = float(limits[0]), int(limits[1]), float(limits[2]), int(limits[3])
    begin = time.monotonic()
    reader = load_reader(name)
    files = list(reader.files().values())
    tracer = LineTracer(reader.sources)
    signal.signal(signal.SIGPROF, _overtime)
    before = resident_bytes()
    with open("/proc/self/statm") as stream:
        address_space = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (address_space + _ADDRESS_SPACE,) * 2)
    current = os.open(folder / "current", os.O_WRONLY | os.O_CREAT, 0o644)
    tally = {"accepted": 0, "refused": 0, "cases": 0, "slowest_s": 0.0}
    say({"files": len(files)})
    said = time.monotonic()
    for index in cases:
        os.pwrite(current, b"%20d %20d %20d" % (index, tally["accepted"], tally["refused"]), 0)
        data = make_case(reader, files, seed, index)
        traced = trace_every > 0 and index % trace_every == 0
        start = time.process_time()
        outcome, trace = tracer.run(attempt, reader, data, limit_s) if traced else attempt(reader, data, limit_s)
        tally["cases"] += 1
        if not traced:
            tally["slowest_s"] = max(tally["slowest_s"], time.process_time() - start)
        full = (taken := resident_bytes() - before) > limit_bytes
        if full and (not trace or outcome == "slow"):
            outcome, trace = "memory", f"{taken} bytes\n"
        if trace:
            say({"finding": outcome, "case": index, "trace": trace, "data": data.hex()})
        else:
            tally[outcome] += 1
        if full:
            break  # the peak stays: the rest is for a new process
        now = time.monotonic()
        if now - said > _REPORT_S:
            say({"tally": tally, "peak_bytes": resident_bytes() - before, "lines": tracer.hits()})
            said = now
        if now - begin > seconds:
            break
    say({"tally": tally, "peak_bytes": resident_bytes() - before, "lines": tracer.hits(), "end": True})


if __name__ == "__main__":
    # What a library prints is not to be taken for a line of ours.
    _CHANNEL = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    _name, _seed, _first, _count, _folder, *_limits = sys.argv[1:]
    run(_name, int(_seed), range(int(_first), int(_first) + int(_count)), Path(_folder), _limits)
    sys.stdout.flush()
    os._exit(0)
