"""The table of `benchmarks/bits.py` says what its cells hold, and which runtime takes which file."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest


def test_a_cell_is_a_line_with_its_times_or_a_refusal(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(checkout / "benchmarks"))
    cell = {
        "task": "kws", "row": "int8w4-recover", "accuracy": 0.92, "accuracy_ci95": [0.9, 0.94], "samples": 800,
        "size_bytes": 37872, "gzip_bytes": 20033,
        "time": {"ai_edge_litert": {"ratio": 1.7, "ci95": [1.6, 1.8], "p50_ms": 0.04},
                 "tflite_runtime": {"refused": "It does not know an operator."}},
    }  # fmt: skip
    other = {**cell, "row": "float32", "time": {"ai_edge_litert": {"ratio": 1.2, "ci95": [1.1, 1.3], "p50_ms": 0.03}}}
    lines = importlib.import_module("bits_table").table([cell, other]).splitlines()
    assert lines[0] == "**Keywords, MLPerf Tiny's DS-CNN**, 800 test samples"
    assert lines[-2] == "| float32 | 92.0 (90.0-94.0) | 37,872 | 20,033 | 1.20 (1.10-1.30) |  |  |"
    assert lines[-1] == "| int8w4 `--recover` | 92.0 (90.0-94.0) | 37,872 | 20,033 | 1.70 (1.60-1.80) | refused |  |"
