"""Which rung of `edgeopt optimize MODEL --max-drop ...` keeps a budget, how long it takes, and what that is beside a
conversion and a validation.

    python benchmarks/ladder.py [--cells 'resnet8-*'] [--resume] [--work FOLDER]
    python benchmarks/ladder.py --write docs/optimize.md      # the table, from the cells that are there

A cell is a model of `quantization_models.py` (or the smartwatch's of `compression_tasks.py`) and a budget; its figures
are a JSON file in ``benchmarks/ladder/``. Of CIFAR-10, 4,000 of the first training samples train, and of the toy
sequences as many; where a model's training data are not published with it, there are none. Time is what all processes
take of the processor, which others on the machine disturb less than the clock's.
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

import numpy as np
from cifar10 import load_cifar10
from compression_tasks import SHARED
from markers import write_between
from quantization_models import CASES, CIFAR_HEAD, model_path, prepare, sequences

MARKER = "begin: python benchmarks/ladder.py --write docs/optimize.md"
RESULTS = Path(__file__).with_suffix("")
TRAIN = 4000
DROPS = {"1%": ["--max-drop", "0.01"], "0.3%": ["--max-drop", "0.003"]}
# Beside those of the drop.
BUDGETS = {"resnet8": {"size": ["--max-drop", "0.04", "--max-size-bytes", "60000"]}}
METRICS = {"detector": "ladder:digits"}
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(Path(__file__).parent)}


def run(*words: str | Path) -> tuple[float, int, str]:
    """Run edgeopt; return the processor's seconds, the exit code, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "edgeopt", *map(str, words)], env=QUIET, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 4):
        sys.exit(f"edgeopt {' '.join(map(str, words))} ended with {done.returncode}: {done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.returncode, done.stdout


def digits(labels: Any, outputs: Any) -> float:
    """The share of pictures whose digit is found: of the detector's outputs, the first four are its box."""
    return float((outputs[:, CASES["detector"].scored :].argmax(axis=1) == labels).mean())


def photos() -> tuple[Any, Any]:
    """Return photos of CIFAR-10 and their classes, none of which calibrates."""
    x, y = load_cifar10(SHARED / "cifar10" / "train_jpeg.npz", CIFAR_HEAD + TRAIN)
    return x[CIFAR_HEAD:], y[CIFAR_HEAD:]


TRAINING = {
    **dict.fromkeys(("resnet8", "mobilenet_v3_like", "efficientnet_like", "vit"), photos),
    "causal": lambda: sequences(TRAIN, 3),
}


def keras_file(folder: Path) -> Path:
    """Return the path of a case's model as a file with layers; a SavedModel that Keras wrote is saved as one."""
    model = model_path(folder)
    if not model.is_dir():
        return model
    import tf_keras

    made = folder / "layers.h5"
    tf_keras.models.load_model(model, compile=False).save(made, include_optimizer=False)
    return made


def cell(name: str, budget: str, work: Path) -> dict[str, Any]:
    """Climb, and convert and validate beside it."""
    folder = prepare(name, work)
    model, test = keras_file(folder), folder / "test.npz"
    data: list[str | Path] = ["--calibration", folder / "calibration.npz"]
    if name in TRAINING:
        x, y = TRAINING[name]()
        np.savez(work / "train.npz", x=x, y=y)
        data += ["--train", work / "train.npz"]
    metric = ["--metric", METRICS[name]] if name in METRICS else []
    limits = {**DROPS, **BUDGETS.get(name, {})}[budget]
    with tempfile.TemporaryDirectory() as place:
        out = Path(place)
        words = [
            model,
            *limits,
            *metric,
            *data,
            "--validation",
            test,
            "-o",
            out / "best",
            "--seconds",
            "3",
            "--json",
            out / "r.json",
        ]
        cpu_s, code, _ = run("optimize", *words)
        found = json.loads((out / "r.json").read_text())
        file = out / "int8.tflite"
        plain = run("convert", model, "-o", file, "--calibration", folder / "calibration.npz")[0]
        words = [file, "--data", test, "--baseline", model, "--seconds", "3", "--processes", "9", *metric]
        plain += run("validate", *words)[0]
    return {
        "model": name, "budget": budget, "limits": limits, "exit": code, "cpu_s": cpu_s, "plain_cpu_s": plain,
        "rungs": [stage["name"] for stage in found["stages"]], "ladder": found["ladder"], "lines": found["budget"],
    }  # fmt: skip


def table(cells: list[dict[str, Any]]) -> str:
    """Return the table."""
    lines = [
        "| model | budget | rung | drop where nothing chose (95 %) | bytes | kept | time / convert + validate |",
        "|---|---|---|---|---|---|---|",
    ]
    order = list(CASES)
    for found in sorted(cells, key=lambda entry: (order.index(entry["model"]), entry["budget"])):
        final, ladder = found["ladder"]["final"], found["ladder"]
        low, high = (100 * end for end in final["accuracy_drop_ci95"])
        drop = f"{100 * final['accuracy_drop']:.1f} ({low:.1f} to {high:.1f})"
        verdicts = ", ".join(line["verdict"] for line in found["lines"])
        rung = f"{ladder['recommended']} of {len(found['rungs'])}"
        head = f"| {CASES[found['model']].title} | `{' '.join(found['limits'])}` | {rung} | {drop}"
        ratio = found["cpu_s"] / found["plain_cpu_s"]
        lines.append(f"{head} | {final['size_bytes']:,} | {verdicts} | {ratio:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Make cells, or write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="*", help="names or patterns, with commas")
    parser.add_argument("--resume", action="store_true", help="skip the cells that are there")
    parser.add_argument("--work", type=Path, default=Path("edgeopt-quantization"), help="models and samples")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into a page, run nothing")
    arguments = parser.parse_args()
    if arguments.write:
        records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
        write_between(arguments.write, MARKER, table(records))
        return
    RESULTS.mkdir(exist_ok=True)
    for name in CASES:
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


if __name__ == "__main__":
    main()
