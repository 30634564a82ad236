"""int8 files of one model beside each other: TFLiteConverter's, litert-quantizer's, MCT's and edgeopt's.

    python benchmarks/quantization.py --list
    python benchmarks/quantization.py [--cells 'vit-*,*-edgeopt-best'] [--resume] [--work FOLDER]
    python benchmarks/quantization.py --write docs/quantization.md      # the table, from the cells that are there

A cell is a model and a method; its figures are a JSON file in ``benchmarks/quantization/``. All methods are given the
same 200 samples that calibrate; none of them sees a sample that tests. Every file is run by the same lines in
ai_edge_litert, on the same samples as the float file that it is compared with. Models that are trained here, files and
the environments of the other tools are kept in the work folder. Time is what all processes of a method take of the
processor, which others on the machine disturb less than the clock's (kept too); the table has its ratio to the plain
converter's.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import json
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from markers import write_between
from quantization_measure import figures, left_float, outputs, scores, warned
from quantization_methods import METHODS, REQUIREMENTS, Job, Refused, quantize
from quantization_models import CASES, model_path, prepare
from quantization_table import table

MARKER = "begin: python benchmarks/quantization.py --write docs/quantization.md"
RESULTS = Path(__file__).parent / "quantization"
TOOLS = ("tensorflow", "keras", "tf_keras", "ai-edge-litert")


class Runner:
    """Makes the cells of one model after the other."""

    def __init__(self, work: Path) -> None:
        self._work = work

    def run(self, name: str, methods: list[str]) -> None:
        """Make a model's cells by some methods."""
        folder = prepare(name, self._work)
        with np.load(folder / "test.npz") as data:
            samples, labels = data["x"], data["y"]
        expected, metric = self._expected(name, folder, samples), CASES[name].metric
        for method in methods:
            job = self._job(name, folder, method)
            record: dict[str, Any] = {"model": name, "method": method}
            record["command"] = shlex.join(["python", "benchmarks/quantization.py", "--cells", f"{name}-{method}"])
            try:
                record |= asdict(quantize(method, job))
                found = CASES[name].scored(samples, outputs(job.output, samples))
            except Refused as why:
                record["refused"] = str(why)
            except RuntimeError as why:
                record["refused"] = f"the runtime refuses its file: {why}"
            else:
                record |= figures(job.output, labels, found, expected, metric)
                record["float"] = scores(labels, expected, metric)
                record["warned"] = warned(job.output)
                record["left_float"] = left_float(job.output)
            record["tools"] = {tool: importlib.metadata.version(tool) for tool in TOOLS} | {"beside": REQUIREMENTS}
            _write(RESULTS / f"{name}-{method}.json", record)
            told = record.get("refused") or f"{record['accuracy']:.4f} {record['snr_db']:.1f} dB {record['cpu_s']} s"
            print(f"{time.strftime('%H:%M:%S')} {name}-{method} {told}", flush=True)

    def _expected(self, name: str, folder: Path, samples: Any) -> Any:
        """Return the float file's outputs, kept for the next run."""
        kept = folder / "expected.npy"
        if not kept.is_file():
            job = self._job(name, folder, "float")
            quantize("float", job)
            np.save(kept, outputs(job.output, samples))
        return CASES[name].scored(samples, np.load(kept))

    def _job(self, name: str, folder: Path, method: str) -> Job:
        output = self._work / "files" / f"{name}-{method}.tflite"
        return Job(CASES[name].keras, model_path(folder), folder / "calibration.npz", output, self._work)


def _write(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".tmp").write_text(json.dumps(record, indent=1) + "\n")
    path.with_suffix(".tmp").rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the cells and whether they are there")
    parser.add_argument("--cells", default="*", help="names or patterns, with commas")
    parser.add_argument("--resume", action="store_true", help="skip the cells that are there")
    parser.add_argument("--work", type=Path, default=Path("edgeopt-quantization"), help="models, files, environments")
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="put the table of the cells into a page, run nothing"
    )
    arguments = parser.parse_args()
    if arguments.write:
        records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
        write_between(arguments.write, MARKER, table(records))
        return
    patterns = arguments.cells.split(",")
    wanted = {
        name: [method for method in METHODS if method != "float"
               and any(fnmatch.fnmatch(f"{name}-{method}", pattern) for pattern in patterns)]
        for name in CASES
    }  # fmt: skip
    if not any(wanted.values()):
        sys.exit(f"No cell is called {arguments.cells}; --list names them")
    runner = Runner(arguments.work.resolve())
    for name, methods in wanted.items():
        there = {method for method in methods if (RESULTS / f"{name}-{method}.json").is_file()}
        if arguments.list:
            for method in methods:
                print(f"{name}-{method}: {'there' if method in there else 'absent'}")
            continue
        left = [method for method in methods if not (arguments.resume and method in there)]
        if left:
            runner.run(name, left)


if __name__ == "__main__":
    main()
