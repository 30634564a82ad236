"""Which rung of `edgeopt optimize MODEL --max-drop ...` keeps a budget, how long it takes, and what that is beside a
conversion and a validation, and beside recipes written by hand.

    python benchmarks/ladder.py [--cells 'resnet8-*'] [--resume] [--work FOLDER]
    python benchmarks/ladder.py --write docs/optimize.md      # the tables, from the cells that are there

A cell is a model of `ladder_models.py` and a budget; its figures are a JSON file in ``benchmarks/ladder/``. Time is
what all processes take of the processor, which others on the machine disturb less than the clock's. The budget ``half``
is half of the int8 file's time in tflite_runtime, at the 95th percentile, and at most 4 points; its file and that one
are timed in turns. It wants a quiet machine: where a timing does not count, nothing is cut for it.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ladder_models import MODELS, TRAIN, TRAIN_FOR_TIME, judging, keras_file, saved, training
from ladder_table import drops, times
from markers import write_between
from quantization_models import prepare

MARKER = "begin: python benchmarks/ladder.py --write docs/optimize.md"
RESULTS = Path(__file__).with_suffix("")
HALF = "half"
DROPS = {"1%": ["--max-drop", "0.01"], "0.3%": ["--max-drop", "0.003"]}
# Beside those of the drop; that of HALF gets its limit of time from a measurement.
BUDGETS = {
    "resnet8": {"size": ["--max-drop", "0.04", "--max-size-bytes", "60000"], HALF: ["--max-drop", "0.04"]},
    "wide": {HALF: ["--max-drop", "0.04"]},
    "watch": {"proven": ["--max-drop", "0.01", "--proven"]},
}
METRICS = {"detector": "ladder_models:digits"}
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(Path(__file__).parent)}
RUNTIME = ("--runtime", "tflite_runtime")
Words = list[str | Path]


def run(*words: str | Path) -> tuple[float, int]:
    """Run edgeopt; return the processor's seconds and the exit code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "edgeopt", *map(str, words)], env=QUIET, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 4):
        sys.exit(f"edgeopt {' '.join(map(str, words))} ended with {done.returncode}: {done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.returncode


def told(*words: str | Path) -> Any:
    """Run edgeopt and return its JSON."""
    with tempfile.TemporaryDirectory() as place:
        run(*words, "--json", Path(place) / "told.json")
        return json.loads((Path(place) / "told.json").read_text())


def cell(name: str, budget: str, work: Path) -> dict[str, Any]:
    """Climb, and convert and validate beside it."""
    folder = prepare(name, work, MODELS)
    model, test, calibration = keras_file(folder), folder / "test.npz", ("--calibration", folder / "calibration.npz")
    data: Words = ["--validation", test, *calibration]
    timed = budget == HALF
    train = training(name, TRAIN_FOR_TIME[name] if timed else TRAIN)
    if train is not None:
        data += ["--train", saved(work / "train.npz", train)]
    if timed:
        data += ["--test", saved(work / "judging.npz", judging(name)), *RUNTIME]
    metric = ["--metric", METRICS[name]] if name in METRICS else []
    limits = {**DROPS, **BUDGETS.get(name, {})}[budget]
    with tempfile.TemporaryDirectory() as place:
        out, file = Path(place) / "best", Path(place) / "int8.tflite"
        plain, _ = run("convert", model, "-o", file, *calibration)
        plain += run(
            "validate", file, "--data", test, "--baseline", model, "--seconds", "3", "--processes", "9", *metric
        )[0]
        if timed:
            p95 = told("bench", file, *RUNTIME)["runs"][0]["latency_ms"]["p95"]
            limits = [*limits, "--max-p95-ms", f"{p95 / 2:.4g}"]
        cpu_s, code = run("optimize", model, *limits, *metric, *data, "-o", out, "--seconds", "3")
        found = json.loads((out / "result.json").read_text())
        if any(line["verdict"] == "not measured" for line in found["budget"]):
            sys.exit(
                "The timings of this run do not count: something else used the processor; run it on a quiet machine"
            )
        turns = {"turns": _in_turns(out / "model.tflite", file)} if timed else {}
    return {
        "model": name, "budget": budget, "limits": limits, "exit": code, "cpu_s": cpu_s, "plain_cpu_s": plain,
        "rungs": [stage["name"] for stage in found["stages"]], "ladder": found["ladder"], "lines": found["budget"],
        **turns,
    }  # fmt: skip


def _in_turns(file: Path, other: Path) -> Any:
    """Return how a file's time compares with another's, timed in turns."""
    return told("bench", file, "--against", other, *RUNTIME)["runs"][0]["comparison"]


def main() -> None:
    """Make cells, or write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="*", help="names or patterns, with commas")
    parser.add_argument("--resume", action="store_true", help="skip the cells that are there")
    parser.add_argument("--work", type=Path, default=Path("edgeopt-quantization"), help="models and samples")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into a page, run nothing")
    arguments = parser.parse_args()
    if arguments.write:
        titles = {name: case.title for name, case in MODELS.items()}
        cells, by_hand, compressed = map(
            _records, (RESULTS, *(RESULTS.with_name(n) for n in ("quantization", "compression")))
        )
        tables = drops(cells, titles, by_hand, compressed), times(cells, titles, compressed)
        write_between(arguments.write, MARKER, "\n\n".join(filter(None, tables)))
        return
    RESULTS.mkdir(exist_ok=True)
    for name in MODELS:
        for budget in (*DROPS, *BUDGETS.get(name, {})):
            title = f"{name}-{budget}".replace("%", "").replace(".", "")
            path = RESULTS / f"{title}.json"
            wanted = any(fnmatch.fnmatch(title, pattern) for pattern in arguments.cells.split(","))
            if not wanted or (arguments.resume and path.is_file()):
                continue
            found = cell(name, budget, arguments.work)
            path.with_suffix(".tmp").write_text(json.dumps(found, indent=1) + "\n")
            path.with_suffix(".tmp").rename(path)
            print(title, found["ladder"]["reason"], f"{found['cpu_s']:.0f} s, {found['plain_cpu_s']:.0f} s", flush=True)


def _records(folder: Path) -> list[Any]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


if __name__ == "__main__":
    main()
