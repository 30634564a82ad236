"""Which runtime is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeopt.devices.agent.protocol import PROTOCOL_VERSION, AgentError
from edgeopt.devices.agent.runtimes import RUNTIMES, candidates

from ..conftest import reply_of


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of fake runtimes that hides the real ones from the agent."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def put(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("__version__ = '9.9'\n")
    (folder / name / "interpreter.py").write_text(code)


def probe(agent: Path) -> dict[str, dict[str, str | None]]:
    request = f'{{"protocol": {PROTOCOL_VERSION}, "nonce": "n", "op": "info"}}\n'
    done = subprocess.run(
        [sys.executable, str(agent), "--detached"],
        input=request.encode(),
        capture_output=True,
        timeout=60,
        env=os.environ,
    )
    return {item["name"]: item for item in reply_of(done)["result"]["runtimes"]}


def test_auto_prefers_litert() -> None:
    assert RUNTIMES == ("ai_edge_litert", "tflite_runtime")
    found, missing = candidates("auto")
    assert found + [name for name, _ in missing] == list(RUNTIMES) or missing


def test_a_named_runtime_is_the_only_one() -> None:
    found, missing = candidates("tflite_runtime")
    assert [*found, *(name for name, _ in missing)] == ["tflite_runtime"]


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(AgentError, match="unknown runtime 'tf'; expected one of auto, ai_edge_litert, tflite_runtime"):
        candidates("tf")


def test_a_runtime_built_for_another_numpy_imports_well_and_is_caught_all_the_same(agent: Path, packages: Path) -> None:
    """What tflite-runtime 2.14 does under NumPy 2: only making an interpreter fails."""
    code = """
class Interpreter:
    def __init__(self, **_):
        raise SystemError("an exception is set") from ImportError("numpy.core.multiarray failed to import")
"""
    put(packages, "tflite_runtime", code)
    problem = probe(agent)["tflite_runtime"]["problem"]
    assert problem is not None and "it was built for another NumPy" in problem and "install 'numpy<2'" in problem


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("raise ImportError('libpython3.9.so: cannot open shared object file')", "libpython3.9.so"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV while importing the runtime"),
        ("import os; os._exit(3)", "ended with status 3 while importing the runtime"),
    ],
)
def test_a_runtime_that_breaks_or_dies_on_import_is_reported_and_the_next_still_tried(
    agent: Path, packages: Path, code: str, problem: str
) -> None:
    put(packages, "ai_edge_litert", code)
    put(packages, "tflite_runtime", "class Interpreter:\n    def __init__(self, **_): pass\n")
    found = probe(agent)
    assert problem in str(found["ai_edge_litert"]["problem"])
    assert (found["tflite_runtime"]["problem"], found["tflite_runtime"]["version"]) == (None, "9.9")
