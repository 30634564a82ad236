"""What fewer bits buy, file by file: accuracy, bytes, zipped bytes, and time in each runtime.

    python benchmarks/bits.py --list
    python benchmarks/bits.py [--cells 'kws-*,cifar10-int8w4*'] [--again] [--work FOLDER]
    python benchmarks/bits.py --write docs/bits.md      # the table, from the cells that are there

A cell is a task and a row; its figures are a JSON file in ``benchmarks/bits/``, and what is there is not made again
without ``--again``. Accuracy is that of the exported file, in the runtime that the row names. Time is the ratio to the
task's int8 file, both timed by turns in the same processes on this machine, in each runtime that takes the file: not on
a board. An .onnx file is timed in onnxruntime, by turns with the int8 file in ai_edge_litert, each in processes of its
own. A ratio whose interval is wide comes from a machine that was busy: it is measured again, and never written.

A row is added in `bits_rows.py`: a function that gives a file, and the runtime that runs it.
"""

from __future__ import annotations

import argparse
import fnmatch
import gzip
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bits_rows import ONNX, ROWS, TASKS, Made
from bits_table import table
from markers import write_between

import edgeopt
from edgeopt.api.bench import bench
from edgeopt.devices import BenchPlan
from edgeopt.errors import EdgeoptError

RESULTS = Path(__file__).parent / "bits"
RUNTIMES = ("ai_edge_litert", "tflite_runtime")
BASE, BASE_RUNTIME = "int8", "ai_edge_litert"
BY_TURNS = BenchPlan(min_seconds=2.0, max_seconds=4.0)
IN_PASSING = BenchPlan(min_seconds=0.1, max_seconds=0.2, processes=1)
TURNS = 9  # of two runtimes
STEADY, ATTEMPTS = 1.5, 4  # the upper end of a ratio's interval may be so many times the lower one


class Runner:
    """Makes cells; a task's data and files are kept in the work folder."""

    def __init__(self, work: Path) -> None:
        self._work = work
        work.mkdir(parents=True, exist_ok=True)

    def run(self, task: str, row: str) -> None:
        """Make a cell's file, measure it, and write the cell's JSON."""
        started = time.monotonic()
        made = self._made(task, row)
        record: dict[str, Any] = {"task": task, "row": row, "note": ROWS[row].note}
        record |= self._sizes(made.path)
        try:
            record |= self._scored(task, made)
        except EdgeoptError as error:
            record["failed"] = str(error)
        else:
            runtimes = (ONNX,) if made.runtime == ONNX else (*RUNTIMES, *made.own_runtimes)
            record["time"] = {runtime: self._steady(task, made, runtime) for runtime in runtimes}
        record["seconds"] = round(time.monotonic() - started)
        RESULTS.mkdir(exist_ok=True)
        target = RESULTS / f"{task}-{row}.json"
        target.with_suffix(".tmp").write_text(json.dumps(record, indent=1) + "\n")
        target.with_suffix(".tmp").rename(target)
        found = record.get("failed") or f"{record['accuracy']:.4f}"
        print(f"{task}-{row}: {found}, {record['size_bytes']:,} B, {record['seconds']} s", flush=True)

    def _made(self, task: str, row: str) -> Made:
        path = self._work / f"{task}-{row}{ROWS[row].suffix}"
        if not path.is_file():
            ROWS[row].make(TASKS[task], path)
        return Made(path, ROWS[row].runtime)

    def _scored(self, task: str, made: Made) -> dict[str, Any]:
        data = TASKS[task].test()
        report = edgeopt.validate(str(made.path), data=data, runtime=made.runtime, bench=IN_PASSING).to_dict()
        profile = report["kernel_profile"]
        return {name: report[name] for name in ("accuracy", "accuracy_ci95", "samples")} | {"kernel_profile": profile}

    @staticmethod
    def _sizes(path: Path) -> dict[str, int]:
        content = path.read_bytes()
        return {"size_bytes": len(content), "gzip_bytes": len(gzip.compress(content, 9, mtime=0))}

    def _steady(self, task: str, made: Made, runtime: str) -> dict[str, Any]:
        """Time until the interval of the ratio is narrow: a process that stood still says nothing of the file."""
        for _ in range(ATTEMPTS):
            found = (self._across if runtime == ONNX else self._ratio)(task, made, runtime)
            if "refused" in found or found["ci95"][1] <= STEADY * found["ci95"][0]:
                return found
        sys.exit(f"{made.path.name} in {runtime}: the ratio is anywhere in {found['ci95']}; try on a quieter machine")

    def _across(self, task: str, made: Made, runtime: str) -> dict[str, Any]:
        """Time the file in its runtime and the int8 one in `BASE_RUNTIME`, in turns of a process each."""
        base = self._made(task, BASE).path
        times = [[self._p50(made.path, runtime), self._p50(base, BASE_RUNTIME)] for _ in range(TURNS)]
        ratios = [own / other for own, other in times]
        p50 = statistics.median(own for own, _ in times)
        return {"ratio": statistics.median(ratios), "ci95": [min(ratios), max(ratios)], "p50_ms": p50}

    @staticmethod
    def _p50(path: Path, runtime: str) -> float:
        run = bench(str(path), runtime=runtime, plan=IN_PASSING, op_profile=False)
        return float(run.runs[0].to_dict()["latency_ms"]["p50"])

    def _ratio(self, task: str, made: Made, runtime: str) -> dict[str, Any]:
        """Time the file by turns with the int8 one; in a runtime that does not take it, say why."""
        base = self._made(task, BASE).path
        try:
            run = bench(str(made.path), against=str(base), runtime=runtime, plan=BY_TURNS, op_profile=False)
        except EdgeoptError as error:
            return {"refused": str(error)}
        timed = run.runs[0].to_dict()
        compared = timed["comparison"]
        return {"ratio": compared["ratio"], "ci95": compared["ratio_ci95"], "p50_ms": timed["latency_ms"]["p50"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name the cells and whether they are there")
    parser.add_argument("--cells", default="*", help="names or patterns, with commas")
    parser.add_argument("--again", action="store_true", help="measure cells that are there again")
    parser.add_argument("--work", type=Path, default=Path("edgeopt-bits"), help="files")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into a page, and measure nothing")
    arguments = parser.parse_args()
    if arguments.write is not None:
        records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
        write_between(arguments.write, "python benchmarks/bits.py --write docs/bits.md", table(records))
        return
    patterns = arguments.cells.split(",")
    cells = [(task, row) for row in ROWS for task in ROWS[row].tasks]
    chosen = [cell for cell in cells if any(fnmatch.fnmatch("-".join(cell), pattern) for pattern in patterns)]
    if not chosen:
        sys.exit(f"No cell is called {arguments.cells}; --list names them")
    runner = Runner(arguments.work)
    for task, row in chosen:
        there = (RESULTS / f"{task}-{row}.json").is_file()
        if arguments.list:
            print(f"{task}-{row}: {'there' if there else 'absent'}")
        elif arguments.again or not there:
            runner.run(task, row)


if __name__ == "__main__":
    main()
