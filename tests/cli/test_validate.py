"""``edgeopt validate`` and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeopt.cli.main import main
from edgeopt.devices import Device, FakeTransport, load_profile

from ..devices.conftest import RUNTIMES, classifier_model, custom_operator_model, lookup_model

LABELS = np.arange(12) % 3
X = np.eye(3, dtype=np.float32)[LABELS]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a classifier that is always right, its data, and the current directory in it."""
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_bytes(classifier_model())
    np.savez("test.npz", x=X, y=LABELS)
    return tmp_path


def run(*words: str) -> int:
    return main(["validate", *words, "--seconds", "0.2", "--processes", "1"])


def test_the_result_is_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("m.tflite", "--data", "test.npz", "--baseline", "m.tflite", "--max-accuracy-drop", "0.5") == 0
    out = capsys.readouterr().out
    assert "1.00 (95 % interval 0.72 to 1.00) on 12 samples" in out and "drop 0 <= 0.5: met" in out
    assert "+0.00 (95 % interval -0.24 to +0.24), paired" in out
    assert "this machine: ai_edge_litert" in out and "p95" in out and "95 % interval of this one process" in out


def test_what_is_not_proven_is_a_warning_and_with_proven_exit_4(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("m.tflite", "--data", "test.npz", "--baseline", "m.tflite", "--max-drop", "0.1")
    assert run(*words, "--json", "r.json") == 0
    out = capsys.readouterr().out
    assert "drop 0 <= 0.1: not proven: 12 samples still allow 0.24; about 35 would settle it" in out
    assert "warning: The budget's max_drop is not proven" in out
    found = json.loads(Path("r.json").read_text())
    assert (found["verdict"], found["budget"][0]["verdict"], found["budget"][0]["samples_needed"]) == (
        "not proven", "not proven", 35,
    )  # fmt: skip
    assert run(*words, "--proven") == 4
    assert "The budget is not proven to be kept: max_drop" in capsys.readouterr().err


def busy(state: dict[str, Any]) -> None:
    state["after"] = {**state["after"], "busy": [{"name": "updatedb", "pid": 7, "cores": 0.9}]}


def throttled(state: dict[str, Any]) -> None:
    state["after"] = {**state["after"], "throttling": {"flags": ["throttled now"]}}


def emulated(state: dict[str, Any]) -> None:
    state["board"] = {"model": "x", "emulated": True}


@pytest.mark.parametrize("change", [busy, throttled, emulated])
@pytest.mark.parametrize("limit", ["0.5", "500"])
def test_a_timing_that_does_not_count_neither_meets_nor_misses_and_is_exit_5_under_strict(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], None],
    limit: str,
) -> None:
    """Before: 500 ms were "met" on a busy board, and 0.5 ms exit 4 on an emulated one."""

    @contextmanager
    def fake(*_: object) -> Iterator[Device]:
        transport = FakeTransport.measuring(outputs={"y": X}, samples_ms=[30.0, 31.0, 32.0])
        answer = transport._answer

        def changed(request: dict[str, Any]) -> dict[str, Any]:
            result = answer(request)
            change(result["latency"]["conditions"])
            return result

        transport._answer = changed
        yield Device(transport, load_profile("local"))

    monkeypatch.setattr("edgeopt.api.validate.open_device", fake)
    words = ("m.tflite", "--data", "test.npz", "--max-p95-ms", limit)
    assert run(*words, "--json", "r.json") == 0
    (line,) = json.loads(Path("r.json").read_text())["budget"]
    assert (line["verdict"], line["met"]) == ("not measured", None) and change.__name__ in line["reason"]
    told = " ".join(capsys.readouterr().out.split())
    assert "not measured, for the timing does not count" in told
    assert told.count(f"{change.__name__}:") == 1, "each reason once"
    assert run(*words, "--strict") == 5
    assert f"does not count: {change.__name__}" in capsys.readouterr().err
    assert run(*words, "--proven") == 4


def test_json_goes_to_stdout_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("m.tflite", "--data", "test.npz", "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] == 1.0 and found["verdict"] == "ok" and found["tool"]["name"] == "edgeopt"


def test_a_missed_budget_is_exit_4_and_the_report_is_written_all_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--max-size-bytes", "100", "--min-metric", "0.5", "--json", "report.json"]
    assert run("m.tflite", "--data", "test.npz", *words) == 4
    printed = capsys.readouterr()
    assert "MISSED" in printed.out and "The budget was missed: max_size_bytes" in printed.err
    found = json.loads(Path("report.json").read_text())
    assert found["verdict"] == "missed" and [line["met"] for line in found["budget"]] == [True, False]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing.tflite", "--data", "test.npz"], 2, "missing.tflite does not exist"),
        (["test.npz", "--data", "test.npz"], 2, "expected a .tflite file"),
        (["cut.tflite", "--data", "test.npz"], 2, "corrupt .tflite file"),
        (["m.tflite", "--data", "missing.npz"], 2, "missing.npz does not exist"),
        (["m.tflite", "--data", "long.npz"], 2, "5 label(s) for 12 samples"),
        (["m.tflite", "--data", "wide.npz"], 2, "shape (12, 4) for input 'x'; expected (samples, 3)"),
        (["m.tflite", "--data", "bare.npy"], 2, "no labels, which the metric accuracy needs"),
        (["m.tflite", "--data", "nan.npz"], 2, "sample 4 of input 'x' holds NaN"),
        (["m.tflite", "--data", "pickled.npz"], 2, "pickled objects"),
        (["m.tflite", "--data", "test.npz", "--metric", "f1"], 2, "Unknown metric 'f1'"),
        (["m.tflite", "--data", "test.npz", "--runtime", "tflite"], 2, "did you mean 'tflite_runtime'"),
        (["m.tflite", "--data", "test.npz", "--threads", "0"], 2, "threads is 0"),
        (["m.tflite", "--data", "test.npz", "--max-drop", "0.1"], 2, "give a model with --baseline"),
        (["m.tflite", "--data", "test.npz", "--baseline", "no.keras"], 2, "Model no.keras does not exist"),
        (["m.tflite", "--data", "test.npz", "--image-size", "big"], 2, "expected HEIGHTxWIDTH"),
        (["m.tflite", "--data", "test.npz", "--resize", "bilinar"], 2, "Unknown image resize 'bilinar'"),
        (["m.tflite", "--data", "test.npz", "--json", "no/where.json"], 2, "the folder no does not exist"),
        (["m.tflite"], 2, "Missing option '--data'"),
        (["lookup.tflite", "--data", "tokens.npz"], 3, "fails when it is run"),
        (["custom.tflite", "--data", "wide.npz"], 3, "unresolved custom op"),
    ],
)
def test_bad_input_has_its_exit_code_and_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    Path("cut.tflite").write_bytes(classifier_model()[:150])
    Path("lookup.tflite").write_bytes(lookup_model())
    Path("custom.tflite").write_bytes(custom_operator_model())
    np.savez("long.npz", x=X, y=LABELS[:5])
    np.savez("wide.npz", x=np.ones((12, 4)), y=LABELS)
    np.savez("tokens.npz", x=np.array([0, 9]), y=np.array([0, 1]))
    np.savez("nan.npz", x=np.where(np.arange(12)[:, None] == 4, np.nan, X), y=LABELS)
    np.savez("pickled.npz", x=np.array([{}, 1], dtype=object), y=LABELS)
    np.save("bare.npy", X)
    assert run(*words) == code
    printed = capsys.readouterr()
    assert message in " ".join(printed.err.split()) and printed.out == ""


def test_the_model_of_the_shared_data_that_must_fail_does(
    folder: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("any.npz", x=np.zeros((3, 1), np.float32), y=np.zeros(3, int))
    code = run(str(shared_data / "coral" / "model_invoking_error.tflite"), "--data", "any.npz")
    assert code in (2, 3), capsys.readouterr().err


HIDING = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in NAMES else find(name, *rest)
"""


@pytest.mark.parametrize(
    ("hidden", "runtime"),
    [(["tflite_runtime"], "tflite_runtime"), (["tflite_runtime", "ai_edge_litert"], "auto"), (["numpy"], "auto")],
)
def test_a_runtime_that_is_not_there_names_the_extra(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hidden: list[str],
    runtime: str,
) -> None:
    """Python loads sitecustomize when it starts: the agent's process then finds these packages no more."""
    (folder / "sitecustomize.py").write_text(f"NAMES = {hidden}\n{HIDING}")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    assert run("m.tflite", "--data", "test.npz", "--runtime", runtime) == 5
    error = capsys.readouterr().err
    assert "no TFLite runtime can be used here" in error
    assert 'pip install "edgeopt[tflite-runtime]"' in error and "pip install ai-edge-litert" in error


def test_auto_says_what_it_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "tflite_runtime" not in RUNTIMES:
        pytest.skip("tflite_runtime is not installed")
    (folder / "sitecustomize.py").write_text(f"NAMES = ['ai_edge_litert']\n{HIDING}")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    assert run("m.tflite", "--data", "test.npz") == 0
    out = capsys.readouterr().out
    assert "this machine: tflite_runtime" in out
    assert "ai_edge_litert was left out: not installed" in out


def test_help_is_instant_and_names_every_budget() -> None:
    code = "import sys; from edgeopt.cli.main import main; main(['validate', '--help']); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False"), "help needs no NumPy"
    for option in ("--max-drop", "--max-accuracy-drop", "--max-p95-ms", "--max-size-bytes", "--json"):
        assert option in done.stdout


def test_ctrl_c_ends_everything_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(folder))
    words = ["validate", "m.tflite", "--data", "test.npz", "--json", "r.json"]  # a second at least
    code = "import sys; from edgeopt.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)
    runs = folder / f"edgeopt-{os.getuid()}" / "runs"
    wait_until(lambda: runs.is_dir() and any(runs.iterdir()))
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.stderr is not None and "Interrupted" in process.stderr.read()
    process.stderr.close()
    wait_until(lambda: not any(runs.iterdir()))
    assert not Path("r.json").exists()
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder).encode() in read_or_empty(path)]
    assert left == []


def read_or_empty(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
