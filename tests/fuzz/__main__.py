"""Long runs.

scripts/fuzz SECONDS [READER]       try all readers, or one, for so long in all; exits with 1 if there are findings
scripts/fuzz --cases N [READER]     so many cases a reader instead
scripts/fuzz --again READER SEED CASE     read one case, here, and show what comes of it
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from .hunt import LIMIT_S, Hunt, hunt
from .readers import MODULES, load_reader
from .worker import attempt, make_case

_HEAD = f"{'reader':<16}{'cases':>10}{'a second':>10}{'accepted':>10}{'refused':>9}{'crashes':>9}{'slowest':>9}{'peak':>9}{'lines':>14}{'findings':>10}"


def main() -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="SECONDS READER", help="for how long in all; which reader, of all")
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"), help="folder for what is found")
    parser.add_argument("--again", nargs=3, metavar=("READER", "SEED", "CASE"))
    arguments = parser.parse_args()
    if arguments.again:
        return again(arguments.again[0], int(arguments.again[1]), int(arguments.again[2]))
    names = [word for word in arguments.what if word in MODULES] or sorted(MODULES)
    try:
        limits = [float(word) for word in arguments.what if word not in MODULES]
    except ValueError:
        parser.error(f"a reader is one of {', '.join(sorted(MODULES))}")
    if len(limits) > 1 or not (limits or arguments.cases):
        parser.error("say for how many seconds, or --cases N")
    seconds = limits[0] / len(names) if limits else float("inf")
    print(_HEAD, flush=True)
    findings = 0
    for name in names:
        found = hunt(name, arguments.seed, arguments.cases or sys.maxsize, seconds, trace_every=50)
        found.save(arguments.findings)
        findings += sum(found.findings.values())
        print(_row(found), flush=True)
        for key, finding in found.first.items():
            print(f"    {found.findings[key]} x {finding}", flush=True)
    if findings:
        print(f"The first of each kind is in {arguments.findings}, with the command that reads it again.")
    return min(findings, 1)


def again(name: str, seed: int, case: int) -> int:
    """Read one case in this process."""
    reader = load_reader(name)
    signal.signal(signal.SIGPROF, signal.default_int_handler)
    outcome, trace = attempt(reader, make_case(reader, list(reader.files().values()), seed, case), LIMIT_S)
    print(trace or outcome)
    return 1 if trace else 0


def _row(found: Hunt) -> str:
    hit, total = found.coverage()
    done = max(found.cases, 1)
    return (
        f"{found.reader:<16}{found.cases:>10,}{found.cases / max(found.seconds, 0.001):>10.0f}{found.accepted / done:>10.0%}"
        f"{found.refused / done:>9.0%}{found.crashes:>9}{found.slowest_s:>7.2f} s{found.peak_bytes / 2**20:>6.0f} MB"
        f"{f'{hit}/{total} {hit / max(total, 1):.0%}':>14}{sum(found.findings.values()):>10}"
    )


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
