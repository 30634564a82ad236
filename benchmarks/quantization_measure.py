"""What a file of `quantization.py` is worth: run in ai_edge_litert, the same way for all, beside the float file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.artifact.artifact import sidecar_path
from edgeopt.devices.agent.arith import dequantize, quantize
from edgeopt.evaluation.fidelity import snr_db
from edgeopt.evaluation.metrics import load_metric
from edgeopt.evaluation.scoring import agreement, drop, evaluate
from edgeopt.flatbuffer import read_model
from edgeopt.flatbuffer.integer import fully_int8


def outputs(file: Path, samples: Any) -> Any:
    """Return the real values of a file's output for samples in real values: float32 (n, ...)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = given["quantization"]
    if scale:
        samples = quantize(samples, scale, zero_point, np.dtype(given["dtype"]))
    results = []
    for sample in samples:
        interpreter.set_tensor(given["index"], sample[None])
        interpreter.invoke()
        results.append(interpreter.get_tensor(found["index"])[0])
    scale, zero_point = found["quantization"]
    return dequantize(np.stack(results), scale, zero_point) if scale else np.stack(results)


def scores(labels: Any, found: Any, name: str) -> dict[str, Any]:
    """Return the accuracy of outputs, or another metric that is the better the nearer to 1, with its interval."""
    score = evaluate(load_metric(name), labels, found)
    return {"accuracy": score.value, "accuracy_ci95": score.ci95, "samples": len(labels)}


def figures(file: Path, labels: Any, found: Any, expected: Any, name: str) -> dict[str, Any]:
    """Return what a file's outputs are worth by a metric beside the float model's, paired sample by sample."""
    metric = load_metric(name)
    pair = evaluate(metric, labels, found), evaluate(metric, labels, expected)
    value, interval = drop(metric, labels, found, expected, pair)
    return {
        **scores(labels, found, name),
        "drop": value,
        "drop_ci95": interval,
        "snr_db": snr_db(expected, found),
        "same_class": agreement(metric, found, expected),
        "size_bytes": file.stat().st_size,
        "fully_int8": fully_int8(read_model(file.read_bytes())),
    }


def warned(file: Path) -> list[str] | None:
    """Return the kinds of warnings that edgeopt gave, or None for another's file."""
    if not sidecar_path(file).is_file():
        return None
    return [warning.partition(":")[0] for warning in _sidecar(file)["warnings"]]


def left_float(file: Path) -> dict[str, float]:
    """Return how many operators edgeopt left float as asked, and their share of the multiply-accumulates."""
    found = _sidecar(file).get("selective") if sidecar_path(file).is_file() else None
    chosen = [] if found is None else found["operators"]
    return {"operators": len(chosen), "macs_share": sum(row["macs_share"] for row in chosen)}


def _sidecar(file: Path) -> Any:
    return json.loads(sidecar_path(file).read_text())
