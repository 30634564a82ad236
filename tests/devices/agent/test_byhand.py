"""The agent as a person uses it on a board: one file, no host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ..conftest import classifier_model, custom_operator_model, halving_model, two_input_model

FEW = ["--runs", "20", "--seconds", "1", "--processes", "2"]


def run(agent: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, agent, *words], capture_output=True, text=True, timeout=120)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A classifier of 7 classes, 40 samples of which it gets 30 right, in a folder with an awkward name."""
    folder = tmp_path / "my board's données"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(classifier_model(7))
    labels = np.arange(40) % 7
    np.save(folder / "x.npy", np.eye(7)[labels])
    labels[:10] = (labels[:10] + 1) % 7
    np.save(folder / "y.npy", labels)
    return folder


def test_bench_prints_a_table(agent: Path, files: Path) -> None:
    done = run(agent, "bench", files / "model.tflite", "--inputs", files / "x.npy", "--labels", files / "y.npy", *FEW)
    assert done.returncode == 0, done.stderr
    lines = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    assert lines["accuracy"].strip() == "0.7500"
    assert "95 % interval" in lines["median"] and lines["runs"].strip().startswith("20 in")
    assert "".join(lines.values()).replace(str(files), "").isascii(), "a board's terminal may know no more"


def test_bench_prints_json(agent: Path, files: Path) -> None:
    words = ["--inputs", files / "x.npy", "--labels", files / "y.npy", *FEW, "--json"]
    found = json.loads(run(agent, "bench", files / "model.tflite", *words).stdout)
    assert found["accuracy"] == 0.75 and found["samples"] == 40
    assert {"p50", "p90", "p95", "p99", "mean", "cold"} <= set(found["latency_ms"])
    assert found["kernel_profile"]["threads"] == 1 and found["verdict"] == "ok"
    assert len(found["latency_runs"]["process_p50_ms"]) == 2 and found["emulated"] is False


def test_what_a_killed_run_has_left_goes_with_the_next_and_nothing_else_does(
    agent: Path, files: Path, tmp_path: Path
) -> None:
    temporary, mine = tmp_path / "tmp", tmp_path / "mine"
    for folder in (temporary, mine):
        folder.mkdir()
    (mine / ".lock").touch()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    long = [sys.executable, agent, "bench", files / "model.tflite", "--seconds", "60", "--processes", "1"]
    killed, running = (subprocess.Popen(long, env=environment, stdout=subprocess.DEVNULL) for _ in range(2))
    try:
        wait_for(lambda: len(list(temporary.glob("edgeopt-agent-*/.lock"))) == 2)
        running.send_signal(signal.SIGSTOP)  # or it would end once its median is stable
        before = set(temporary.iterdir())
        killed.kill()
        killed.wait()
        (temporary / "edgeopt-agent-linked00").symlink_to(mine)
        (temporary / "edgeopt-agent-unlocked").mkdir()
        (temporary / "edgeopt-agent-mine.txt").touch()
        words = [sys.executable, agent, "bench", files / "model.tflite", *FEW]
        wait_for(lambda: subprocess.run(words, env=environment, capture_output=True).returncode == 0
                 and len(set(temporary.iterdir()) & before) == 1)  # fmt: skip
        kept = {path.name for path in set(temporary.iterdir()) - before}
        assert kept == {"edgeopt-agent-linked00", "edgeopt-agent-unlocked", "edgeopt-agent-mine.txt"}
        assert (mine / ".lock").exists(), "a link is not followed"
        os.utime(temporary / "edgeopt-agent-unlocked", (0, 0))
        subprocess.run(words, env=environment, capture_output=True, check=True)
        assert not (temporary / "edgeopt-agent-unlocked").exists(), "an older agent's, of more than a day ago"
        assert len(set(temporary.iterdir()) & before) == 1, "that of the run that is still there"
    finally:
        for process in (killed, running):
            process.kill()
            process.wait()


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_bench_needs_nothing_but_a_model(agent: Path, files: Path) -> None:
    done = run(agent, "bench", files / "model.tflite", *FEW)
    assert done.returncode == 0 and "accuracy" not in done.stdout


def test_eval_keeps_the_outputs_as_the_file_stores_them(agent: Path, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(halving_model())
    np.save(tmp_path / "x.npy", np.array([[0.0, 1.0, 2.0, 3.0]]))
    words = ["--inputs", f"x={tmp_path / 'x.npy'}", "--outputs", tmp_path / "out"]
    done = run(agent, "eval", tmp_path / "m.tflite", *words)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "output-0.npy"), np.array([[0, 1, 2, 3]], np.int8))


def test_values_to_be_predicted_give_errors_not_accuracy(agent: Path, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(halving_model())
    np.save(tmp_path / "x.npy", np.array([[0.0, 1.0, 2.0, 3.0]]))
    np.save(tmp_path / "y.npy", np.array([[0.0, 1.0, 2.0, 5.0]]))
    words = ["--inputs", tmp_path / "x.npy", "--labels", tmp_path / "y.npy", "--json"]
    found = json.loads(run(agent, "eval", tmp_path / "m.tflite", *words).stdout)
    assert (found["mae"], found["mse"]) == (0.5, 1.0) and "accuracy" not in found


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["eval", "m.tflite"], 2, "--inputs is missing"),
        (["bench", "m.tflite", "--labels", "y.npy"], 2, "--inputs is missing"),
        (["bench", "missing.tflite"], 2, "cannot read the model missing.tflite"),
        (["bench", "x.npy"], 2, "not a model"),
        (["bench", "custom.tflite"], 3, "unresolved custom op"),
        (["eval", "m.tflite", "--inputs", "x.npy", "--labels", "long.npy"], 2, "labels for 1 samples"),
        (["eval", "two.tflite", "--inputs", "zebra=x.npy"], 2, "no data for input 'apple'"),
        (["eval", "two.tflite", "--inputs", "x.npy", "--inputs", "x.npy"], 2, "is there twice"),
        (["bench", "m.tflite", "--runs", "0"], 2, "contradict each other"),
    ],
)
def test_mistakes_are_named_and_have_exit_codes(
    agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_bytes(halving_model())
    Path("custom.tflite").write_bytes(custom_operator_model())
    Path("two.tflite").write_bytes(two_input_model())
    np.save("x.npy", np.zeros((1, 2 if "two.tflite" in words else 4)))
    np.save("long.npy", np.zeros(5, int))
    done = run(agent, *words)
    assert done.returncode == code
    assert message in done.stderr and done.stdout == ""


def test_help_needs_no_runtime(agent: Path) -> None:
    done = run(agent, "--help")
    assert done.returncode == 0 and "bench" in done.stdout and "zero point" in done.stdout
