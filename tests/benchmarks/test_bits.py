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
    in_onnxruntime = {"onnxruntime": {"ratio": 3.4, "ci95": [3.3, 3.5], "p50_ms": 0.1}}
    onnx = {**cell, "row": "onnx-int8", "time": in_onnxruntime}
    lines = importlib.import_module("bits_table").table([cell, other, onnx]).splitlines()
    assert lines[0] == "**Keywords, MLPerf Tiny's DS-CNN**, 800 test samples"
    assert lines[-3] == "| float32 | 92.0 (90.0-94.0) | 37,872 | 20,033 | 1.20 (1.10-1.30) |  |  |"
    assert lines[-2] == "| int8w4 `--recover` | 92.0 (90.0-94.0) | 37,872 | 20,033 | 1.70 (1.60-1.80) | refused |  |"
    assert lines[-1] == "| ONNX, int8 (QDQ) | 92.0 (90.0-94.0) | 37,872 | 20,033 |  |  | onnxruntime 3.40 (3.30-3.50) |"


def test_a_ratio_that_may_be_anything_is_never_written(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(checkout / "benchmarks"))
    bits, rows = importlib.import_module("bits"), importlib.import_module("bits_rows")
    runner, made = bits.Runner(tmp_path), rows.Made(tmp_path / "a.tflite", "ai_edge_litert")
    intervals = [[4.3, 1810.4], [4.3, 4.5]]
    monkeypatch.setattr(runner, "_ratio", lambda *_: {"ratio": 4.4, "ci95": intervals.pop(0), "p50_ms": 0.1})
    assert runner._steady("kws", made, "ai_edge_litert")["ci95"] == [4.3, 4.5]
    monkeypatch.setattr(runner, "_ratio", lambda *_: {"ratio": 4.4, "ci95": [4.3, 1810.4], "p50_ms": 0.1})
    with pytest.raises(SystemExit, match=r"a.tflite in ai_edge_litert: the ratio is anywhere in \[4.3, 1810.4\]"):
        runner._steady("kws", made, "ai_edge_litert")
