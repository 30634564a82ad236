"""Readers of the JSON that edgeopt's verbs write, when pages and comparisons are made of it, and of bundles."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from edgeopt.pages.bundle import bundle, verify
from edgeopt.pages.compare import compare
from edgeopt.pages.report import report

from ...flatbuffer.conftest import build_small_file
from ..mutator import mutate_json
from ..readers import Reader

HEAD = {"schema_version": 1, "tool": {"name": "edgeopt", "version": "0"}, "verdict": "ok"}
PROFILE = {"runtime": "ai_edge_litert", "version": "2.3.0", "delegate": "xnnpack", "threads": 1, "kernels": "default"}
METRIC = {"name": "accuracy", "value": 0.9, "higher_is_better": True, "ci95": [0.8, 0.95], "ci_method": "agresti-coull"}
LINE = {
    "name": "max_drop",
    "limit": 0.02,
    "value": 0.01,
    "met": True,
    "verdict": "not proven",
    "bad_end": 0.03,
    "samples": 9,
}
SIDE = {"device": "pi", "machine": "aarch64", "kernel_profile": PROFILE}
TIMING = {
    "device": "pi",
    "emulated": False,
    "kernel_profile": PROFILE,
    "latency_ms": {"p50": 1.5, "p95": 2.0, "p99": 2.5, "cold": 9.0, "p50_ci95": [1.4, 1.6]},
    "latency_runs": {"runs": 100, "seconds": 1.0, "stable": False, "process_p50_ms": [1.5, 1.4], "no_interval": None},
    "conditions": {
        "board": {"model": "Pi", "cpu_model": None, "machine": "aarch64"},
        "after": {"governors": ["ondemand"], "temperature_c": 50.0, "load_average": [0.1, 0.2, 0.3]},
        "peak_rss_bytes": 1000,
    },
    "unmeasured": [{"reason": "busy", "detail": "python"}],
}


def _fidelity() -> dict[str, object]:
    output = {
        "name": "y",
        "snr_db": 3.0,
        "worst_channel_db": 1.0,
        "max_error_steps": None,
        "same_class": 0.5,
        "reasons": ["x"],
    }
    cause = {"op": "ADD", "index": 3, "layer": "add", "remedy": "a mask of -100"}
    return {"snr_db": 3.0, "holds": False, "outputs": [output], "samples": 50, "held_back": True, "cause": cause}


def _validation() -> dict[str, object]:
    classes = {"names": ["a", "b", "c"], "samples": [5, 4, 0], "right": [4, 4, 0], "confused": [[0, 1, 1]]}
    drop = {"accuracy_drop": 0.01, "accuracy_drop_ci95": [-0.01, 0.03], "baseline_accuracy": 0.91, "agreement": 0.9}
    file = {"artifact": "m.tflite", "sha256": "0" * 64, "size_bytes": 5000, "samples": 9, "metric": METRIC}
    found = {"classes": classes, "fidelity": _fidelity(), "budget": [LINE], "warnings": ["w"], **drop}
    return {**HEAD, **file, **TIMING, **found}


def _run() -> dict[str, object]:
    sizes = {"size_bytes": 5000, "gzip_bytes": 4000, "macs": 10**6, "sparsity": 0.5, "peak_activation_bytes": 99}
    turns = {"ratio": 0.5, "ratio_ci95": [0.4, 0.6], "verdict": "faster"}
    first = {"name": "00-original", "kind": "original", "artifact": "00.tflite", "metric": METRIC, **TIMING, **sizes}
    last = {**first, "name": "01-prune", "kind": "prune", "against_original": turns, "drop": 0.1, "drop_ci95": [0, 0.2]}
    gain = {"stage": "01-prune", "summary": "changed much", "note": "n"}
    skipped = {"stage": "01-prune", "subject": "dense", "reason": "output", "detail": "d"}
    ladder = {"recommended": "01-prune", "reason": "it is", "final": {"metric": METRIC, "samples": 9}}
    lists = {"stages": [first, last], "skipped": [skipped], "compression": [gain], "budget": [LINE], "warnings": []}
    return {**HEAD, **lists, "overall": gain, "ladder": ladder}


def _seeds() -> Mapping[str, bytes]:
    operators = [{"op": "Convolution (NHWC)", "by": "delegate", "index": 0, "ms": 0.1, "share": 0.5}]
    compared = {"ratio": 0.9, "ratio_ci95": None, "verdict": "faster", "pairs": 3, "processes": 1}
    timed = {
        **TIMING,
        "threads": 1,
        "invalid": [],
        "op_profile": {"runs": 3, "operators": operators},
        "comparison": compared,
    }
    bench = {
        "device": "pi",
        "artifact": "m.tflite",
        "sha256": "0" * 64,
        "size_bytes": 9,
        "arena_bytes": 9,
        "runs": [timed],
    }
    divergence = {"op": "ADD", "index": 2, "tensor": "m/add/x", "max_lsb": 3}
    parity = {
        "level": "L2", "held": True, "samples": 9, "equal": False, "max_lsb": 3, "share": 0.1, "agreement": None,
        "lsb_histogram": {"0": 9, "3": 1}, "first_divergence": divergence, "sides": [SIDE, SIDE], "explained": True,
        "explanation": "Other kernels.", "artifact": "m.tflite",
    }  # fmt: skip
    costs = {
        "op": "ADD",
        "layer": "add",
        "macs_share": 0.1,
        "noise_share": 0.9,
        "only_int8_db": 20.0,
        "remedy": "float",
    }
    sensitivity = {
        "snr_db": 20.0,
        "held_back": True,
        "samples": 9,
        "operators": [{**costs, "advice": "a"}],
        "warnings": [],
    }
    made = {
        "validate": _validation(),
        "optimize": _run(),
        "devices": {**HEAD, "devices": [_validation(), {**HEAD, **bench}]},
    }
    made |= {"bench": {**HEAD, **bench}, "parity": {**HEAD, **parity}, "sensitivity": {**HEAD, **sensitivity}}
    return {name: json.dumps(result).encode() for name, result in made.items()}


@cache
def _folder() -> Path:
    """A folder of this process with two files."""
    folder = Path(tempfile.mkdtemp())
    (folder / "00.tflite").write_bytes(build_small_file())
    (folder / "other.tflite").write_bytes(build_small_file() + bytes(4))
    return folder


def _read(data: bytes) -> None:
    path = _folder() / "result.json"
    path.write_bytes(data)
    made = report([path]).html()
    assert "<script" not in made and len(made) < 2_000_000
    found = compare([_folder() / "other.tflite", _folder() / "00.tflite", path])
    json.dumps(found.to_dict(), allow_nan=False)
    found.to_csv(), found.html()


def _bundles() -> Mapping[str, bytes]:
    made = bundle(_folder() / "00.tflite", _folder() / "seed.zip", force=True)
    return {"whole": made.read_bytes()}


def _bundle(data: bytes) -> None:
    path = _folder() / "bundle.zip"
    path.write_bytes(data)
    json.dumps(verify(path).to_dict(), allow_nan=False)


READERS = {
    "bundle": Reader(_bundle, _bundles, ("edgeopt/pages/bundle.py",), cases=200),
    "results": Reader(_read, _seeds, ("edgeopt/pages/*.py",), mutate=mutate_json, cases=300),
}
