"""The table of `benchmarks/quantization.py` says what its cells hold, and takes its place in a page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = "python benchmarks/quantization.py --write docs/quantization.md"
CELL: dict[str, Any] = {
    "model": "vit", "method": "edgeopt-best", "cpu_s": 6.0, "accuracy": 0.61, "drop": 0.02,
    "drop_ci95": [0.01, 0.035], "snr_db": 14.04, "size_bytes": 12345, "fully_int8": True, "warned": ["fidelity"],
    "float": {"accuracy": 0.63, "samples": 3000},
}  # fmt: skip


def test_a_cell_is_a_line_after_its_float_model(benchmark_module: Any) -> None:
    refused = {"model": "vit", "method": "mct", "refused": "ValueError: no such layer"}
    plain = {**CELL, "method": "plain", "accuracy": 0.6, "drop": 0.03, "cpu_s": 8.0, "warned": None}
    lines = benchmark_module("quantization_table").table([CELL, refused, plain]).splitlines()[2:]
    assert lines == [
        "| small ViT, CIFAR-10 (3,000 samples) | float | 63.0 |  |  |  |  |  |  |",
        "|  | TFLiteConverter | 60.0 | 3.0 (1.0 to 3.5) | 14.0 | 12,345 | yes | 1.00 |  |",
        "|  | MCT | no file |  |  |  |  |  |  |",
        "|  | edgeopt, `--ranges best` | 61.0 | 2.0 (1.0 to 3.5) | 14.0 | 12,345 | yes | 0.75 | fidelity |",
    ]


def test_the_page_holds_the_table_of_the_cells_that_are_kept(checkout: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n<!-- begin: {COMMAND} -->\nold\n<!-- end -->\nafter\n")
    script = checkout / "benchmarks" / "quantization.py"
    done = subprocess.run([sys.executable, str(script), "--write", str(page)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = page.read_text()
    assert written.startswith("before\n") and written.endswith("<!-- end -->\nafter\n") and "old" not in written
    kept = [json.loads(path.read_text()) for path in (checkout / "benchmarks" / "quantization").glob("*.json")]
    assert kept
    for cell in kept:
        assert f"{cell['size_bytes']:,}" in written if "size_bytes" in cell else "no file" in written
    docs = (checkout / "docs" / "quantization.md").read_text("utf-8")
    assert written.split(COMMAND)[1].split("<!-- end -->")[0] == docs.split(COMMAND)[1].split("<!-- end -->")[0]


def test_a_page_without_the_place_is_left_alone(benchmark_module: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- end -->\n")
    with pytest.raises(ValueError, match="has no <!-- begin: a command -->"):
        benchmark_module("markers").write_between(page, "begin: a command", "| |")
    assert page.read_text() == "before\n<!-- end -->\n"


def test_an_environment_of_another_mct_is_not_patched(benchmark_module: Any, tmp_path: Path) -> None:
    methods = benchmark_module("quantization_methods")
    path = tmp_path / "lib" / "python3.11" / "site-packages" / methods.MCT_FILE
    path.parent.mkdir(parents=True)
    path.write_text(f"    {methods.MCT_CHECK}\n        raise ValueError\n")
    methods.patch_mct(tmp_path)
    assert methods.MCT_CHECK not in path.read_text() and "if False:" in path.read_text()
    with pytest.raises(ValueError, match="not that of model-compression-toolkit 2.6.1"):
        methods.patch_mct(tmp_path)
