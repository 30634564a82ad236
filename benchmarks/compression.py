"""What each compression pass buys: accuracy, bytes, MACs and latency of the exported files.

    python benchmarks/compression.py --list
    python benchmarks/compression.py [--cells 'cifar10-*-s0,watch-*'] [--resume] [--work FOLDER]
    python benchmarks/compression.py --latency          # time the files again, by turns, on a quiet machine
    python benchmarks/compression.py --table            # Markdown, from the cells that are there

A cell is a row of a table with one seed; its figures are a JSON file in ``benchmarks/compression/``. All rows of a task
begin with the same float model and train for the same number of epochs, all passes of a row together (stated above the
table). Every accuracy is of the exported file on the whole test set in the deployment runtime. Latency is the ratio to
the int8 file of the row ``ptq`` of seed 0, both timed by turns in the same processes on this machine, in each of two
runtimes: not on a board.

The training needs hours of CPU; ``--resume`` goes on where a run was stopped, in the middle of a cell too.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from compression_cells import Cell, all_cells, base_recipe
from compression_table import tables
from compression_tasks import TASKS

import edgeopt
from edgeopt.api.bench import bench
from edgeopt.devices import BenchPlan

RESULTS = Path(__file__).parent / "compression"
# A stage is timed in passing; what counts is the comparison at the end.
IN_PASSING = BenchPlan(min_seconds=0.5, max_seconds=1.0, processes=3)
BY_TURNS = BenchPlan(min_seconds=1.0, max_seconds=2.0)
# Both are timed, and a cut to a latency is made for the first: its time follows the channels. On an x86 processor with
# AMX the second computes in tiles of 64 channels, and fewer of them save nothing.
RUNTIMES = ("tflite_runtime", "ai_edge_litert")
FIGURES = ("accuracy", "accuracy_ci95", "samples", "size_bytes", "gzip_bytes", "macs", "sparsity", "fully_int8")


class Runner:
    """Makes cells, with a task's data and float model kept for the next one."""

    def __init__(self, work: Path, resume: bool) -> None:
        self._work, self._resume = work, resume
        self._loaded: tuple[str, Any] = ("", None)

    def run(self, cell: Cell) -> None:
        """Train, export and measure a cell, and write its JSON."""
        recipe = dict(cell.recipe)
        started = time.monotonic()
        result = self._optimize(cell.name, str(self._base(cell.task)), recipe, cell.task)
        last = result.stages[-1]
        found = {name: last.figures[name] for name in FIGURES}
        if cell.row == "ptq":
            found["float"] = self._float(result.model, cell.task)
        record = {
            "cell": cell.name,
            "task": cell.task,
            "row": cell.row,
            "seed": cell.seed,
            "command": shlex.join(["python", "benchmarks/compression.py", "--cells", cell.name]),
            "base_epochs": TASKS[cell.task].base_epochs,
            "epochs": cell.epochs,
            "recipe": recipe,
            **found,
            "latency": self.latency(cell),
            "seconds": round(time.monotonic() - started),
            "tools": last.artifact.sidecar["tools"],
        }
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{cell.name}.json"
        path.with_suffix(".tmp").write_text(json.dumps(record, indent=1) + "\n")
        path.with_suffix(".tmp").rename(path)

    def latency(self, cell: Cell) -> dict[str, Any]:
        """Time a cell's file, in each runtime, by turns with the task's int8 file without further training."""
        return {runtime: self._ratio(cell, runtime) for runtime in RUNTIMES}

    def _ratio(self, cell: Cell, runtime: str) -> dict[str, Any]:
        file, against = self._file(cell.name), self._file(f"{cell.task}-ptq-s0")
        run = bench(file, against=against, runtime=runtime, plan=BY_TURNS, op_profile=False)
        timed = run.runs[0].to_dict()
        compared = timed["comparison"]
        return {
            "ratio_to_ptq": compared["ratio"],
            "ratio_ci95": compared["ratio_ci95"],
            "p50_ms": timed["latency_ms"]["p50"],
            "kernel_profile": timed["kernel_profile"],
        }

    def _base(self, task: str) -> Path:
        """Return the task's float model, trained the first time."""
        folder = self._work / f"{task}-base"
        model = folder / "model.h5"
        if not (folder / "result.json").is_file():
            start = TASKS[task].network()
            self._optimize(folder.name, str(start) if isinstance(start, Path) else start, base_recipe(task), task)
        return model if model.is_file() else folder / "model.keras"

    def _optimize(self, name: str, model: Any, recipe: dict[str, Any], task: str) -> Any:
        train, test = self._data(task)
        folder = self._work / name
        resume = folder.is_dir() and self._resume
        return edgeopt.optimize(
            model, recipe, train=train, validation=test, output=folder, resume=resume, force=not resume,
            runtime=RUNTIMES[0] if "latency" in name else "auto", bench=IN_PASSING,
            on_step=lambda line: print(f"{time.strftime('%H:%M:%S')} {name} {line}", flush=True),
        )  # fmt: skip

    def _data(self, task: str) -> Any:
        load = TASKS[task].data
        if self._loaded[0] != load.__name__:
            self._loaded = (load.__name__, load())
        return self._loaded[1]

    def _float(self, model: Any, task: str) -> dict[str, Any]:
        train, test = self._data(task)
        artifact = edgeopt.convert(model, calibration=train, quantize="float32")
        report = edgeopt.validate(artifact, data=test, bench=IN_PASSING).to_dict()
        sizes = {name: artifact.sidecar[name] for name in ("size_bytes", "gzip_bytes", "macs")}
        return {"accuracy": report["accuracy"], "accuracy_ci95": report["accuracy_ci95"], **sizes}

    def _file(self, name: str) -> str:
        found = sorted((self._work / name).glob("[0-9][0-9]-*.tflite"))
        if not found:
            sys.exit(f"{name} was not made yet, and its file is needed; run: --cells {name}")
        return str(found[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name the cells and whether they are there")
    parser.add_argument("--table", action="store_true", help="print the tables of the cells that are there")
    parser.add_argument("--latency", action="store_true", help="time the files of the cells that are there again")
    parser.add_argument("--cells", default="*", help="names or patterns, with commas")
    parser.add_argument("--resume", action="store_true", help="skip the cells that are there; go on inside a cell")
    parser.add_argument("--work", type=Path, default=Path("edgeopt-compression"), help="models and files")
    arguments = parser.parse_args()
    patterns = arguments.cells.split(",")
    cells = [cell for cell in all_cells() if any(fnmatch.fnmatch(cell.name, pattern) for pattern in patterns)]
    if not cells:
        sys.exit(f"No cell is called {arguments.cells}; --list names them")
    runner = Runner(arguments.work, arguments.resume)
    for cell in cells if not arguments.table else ():
        path = RESULTS / f"{cell.name}.json"
        if arguments.list:
            print(f"{cell.name}: {'there' if path.is_file() else 'absent'}, {cell.epochs} epochs")
        elif arguments.latency and path.is_file():
            path.write_text(
                json.dumps(json.loads(path.read_text()) | {"latency": runner.latency(cell)}, indent=1) + "\n"
            )
        elif not arguments.latency and not (arguments.resume and path.is_file()):
            runner.run(cell)
    if arguments.table:
        print(tables([json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]))


if __name__ == "__main__":
    main()
