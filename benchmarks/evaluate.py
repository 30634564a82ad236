"""edgeopt's evaluation against a hand-written interpreter loop: same file, same samples, same threads, same process.

    python benchmarks/evaluate.py [--data FOLDER] [--rounds 7] [--samples 2000]

For each runtime one process runs the two by turns (A B B A ...). A is the loop that a user would write: open an
interpreter; for each sample quantise, set, invoke, get; collect. B is what the agent does: open its interpreters, find
out whether batches are safe, run all samples, write the outputs to a file, read them back. Both end with the classes of
all samples, which must be equal. Prints one Markdown table row a model and runtime; the ratio is B / A, so less than 1
means that edgeopt is faster.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cifar10 import load_cifar10

RUNTIMES = ("ai_edge_litert", "tflite_runtime")
CHECKOUT = Path(__file__).resolve().parent.parent


def loop(module: Any, model: str, samples: np.ndarray) -> np.ndarray:
    """Return the classes of all samples: the loop that one writes by hand."""
    interpreter = module.Interpreter(model, num_threads=1)
    interpreter.allocate_tensors()
    given, found = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = given["quantization"]
    limits = np.iinfo(given["dtype"])
    classes = []
    for sample in samples:
        stored = np.clip(np.round(sample / scale + zero_point), limits.min, limits.max).astype(given["dtype"])
        interpreter.set_tensor(given["index"], stored[None])
        interpreter.invoke()
        classes.append(interpreter.get_tensor(found["index"])[0].argmax())
    return np.array(classes)


def agent(runtime: Any, model: str, samples: str, folder: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the classes of all samples, and the way they went: what edgeopt's agent does."""
    from edgeopt.devices.agent.arrays import open_all
    from edgeopt.devices.agent.evaluate import evaluate
    from edgeopt.devices.agent.session import Session

    def opener(shapes: Any) -> Session:
        return Session(runtime, model, 1, "default", shapes)

    first = opener({})
    result = evaluate(first, opener, open_all(first.inputs, [samples]), folder, lambda *_: None)
    return np.load(result["outputs"][0]["path"]).argmax(axis=1), result


def by_turns(first: Callable[[], Any], second: Callable[[], Any], rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each run of the two, taken A B B A A B B A ..., after one run of each to warm up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    first(), second()
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            start = time.perf_counter()
            (first, second)[which]()
            seconds[which].append(time.perf_counter() - start)
    return seconds


def compare(name: str, model: str, samples: str, rounds: int) -> dict[str, Any]:
    """Run both by turns in this process, with the runtime `name`, and return the figures."""
    from edgeopt.devices.agent.runtimes import Runtime

    runtime, module = Runtime(name), importlib.import_module(f"{name}.interpreter")
    data = np.load(samples, mmap_mode="r")
    with tempfile.TemporaryDirectory() as folder:
        ours, way = agent(runtime, model, samples, folder)
        same = float((loop(module, model, data) == ours).mean())
        by_hand, batched = by_turns(
            lambda: loop(module, model, data), lambda: agent(runtime, model, samples, folder), rounds
        )
    return {
        "runtime": f"{runtime.name} {runtime.version}",
        "samples": len(data),
        "batch": way["batch"],
        "workers": way["workers"],
        "same_classes": same,
        "loop_s": by_hand,
        "edgeopt_s": batched,
    }


def row(name: str, found: dict[str, Any]) -> str:
    """Return a line of the Markdown table: medians, and the ratio of each round with its spread."""
    ratios = sorted(ours / theirs for ours, theirs in zip(found["edgeopt_s"], found["loop_s"], strict=True))
    loop_s, edgeopt_s = statistics.median(found["loop_s"]), statistics.median(found["edgeopt_s"])
    cells = [name, found["runtime"], found["samples"], f"{found['batch']} x {found['workers']}"]
    cells += [
        f"{loop_s:.3f}",
        f"{edgeopt_s:.3f}",
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})",
    ]
    cells.append(f"{found['same_classes']:.4f}")
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def main() -> None:
    """Prepare the data, run one process a runtime and model, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("EDGEOPT_TEST_DATA", str(CHECKOUT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default), help="folder with kws/ and cifar10/")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=2000, help="at most so many")
    parser.add_argument("--child", nargs=3, metavar=("RUNTIME", "MODEL", "SAMPLES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(compare(*options.child, options.rounds)))
        return
    print("| model | runtime | samples | batch x cores | loop s | edgeopt s | ratio (range) | same classes |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        kws, cifar = Path(folder) / "kws.npy", Path(folder) / "cifar.npy"
        np.save(kws, np.load(options.data / "kws/test.npz")["x"][: options.samples])
        np.save(cifar, load_cifar10(options.data / "cifar10/test_jpeg.npz", options.samples)[0])
        for name, model, samples in (
            ("KWS DS-CNN", options.data / "kws/ref_int8.tflite", kws),
            ("ResNet-8", options.data / "cifar10/mlperf_resnet8_int8.tflite", cifar),
        ):
            for runtime in RUNTIMES:
                words = ["--rounds", str(options.rounds), "--child", runtime, str(model), str(samples)]
                done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
                print(row(name, json.loads(done.stdout.splitlines()[-1])), flush=True)


if __name__ == "__main__":
    main()
