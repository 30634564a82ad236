"""Real results of a tiny classifier: a file, and what validate, bench and parity write of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgeopt.artifact.artifact import Artifact
from edgeopt.cli.main import main

from ..devices.conftest import classifier_model

LABELS = np.arange(60) % 3


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with m.tflite and its sidecar, other.tflite, and validate.json, bench.json, parity.json of the first."""
    folder = tmp_path_factory.mktemp("results")
    before = Path.cwd()
    os.chdir(folder)
    try:
        model = classifier_model()
        Artifact(model, {"quantize": "int8", "source_model": {"path": "m.keras"}, "tools": {"keras": "3.0"}}).save(
            "m.tflite"
        )
        Path("other.tflite").write_bytes(model + bytes(8000))
        said = LABELS.copy()
        said[::10] = (said[::10] + 1) % 3  # six of sixty are said wrongly
        np.savez("test.npz", x=np.eye(3, dtype=np.float32)[said], y=LABELS)
        quick = ["--seconds", "0.2", "--processes", "1"]
        budget = ["--baseline", "m.tflite", "--max-drop", "0.5", "--max-size-bytes", "9"]
        assert main(["validate", "m.tflite", "--data", "test.npz", *budget, *quick, "--json", "validate.json"]) == 4
        assert main(["bench", "m.tflite", *quick, "--against", "other.tflite", "--json", "bench.json"]) == 0
        assert main(["parity", "m.tflite", "--device", "local", "--data", "test.npz", "--json", "parity.json"]) == 0
    finally:
        os.chdir(before)
    return folder
