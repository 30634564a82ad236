"""The scripts of `benchmarks/`, imported as they import each other."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def benchmark_module(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of the benchmarks by its name, as they do each other."""
    monkeypatch.syspath_prepend(str(checkout / "benchmarks"))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load
