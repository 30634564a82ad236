"""The real agent as a process: what it answers, and that it leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeopt.devices.agent.protocol import PROTOCOL_VERSION

from ..conftest import Talk, float_model, reply_of

FOREVER = {"warmup_runs": 1, "warmup_seconds": 0, "min_seconds": 600, "max_seconds": 600, "max_runs": 10**9}


def request(tmp_path: Path, **fields: Any) -> dict[str, Any]:
    """A timing that would take ten minutes, unless `fields` say otherwise."""
    model = tmp_path / "modèle with 'quotes'.tflite"
    model.write_bytes(float_model())
    head = {"protocol": PROTOCOL_VERSION, "nonce": "n1", "op": "measure", "workdir": str(tmp_path / "work")}
    return {**head, "wait_s": 0, "model": str(model), "bench": FOREVER, **fields}


@contextmanager
def started(agent: Path, message: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """The agent, from the moment its worker has told that the timing is under way."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, str(agent)], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin and process.stderr
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        try:
            while b'"progress":"bench"' not in (line := process.stderr.readline()):
                assert line, "the agent ended before the timing began"
            yield process
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_running(pid: int) -> bool:
    """Whether it runs; one that has ended and waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_info_needs_no_numpy_and_no_work_folder(talk: Talk) -> None:
    reply = reply_of(talk({"protocol": PROTOCOL_VERSION, "nonce": "abc", "op": "info", "workdir": None}))
    assert reply["ok"] and reply["nonce"] == "abc"
    assert reply["result"]["protocol"] == PROTOCOL_VERSION
    assert reply["result"]["board"]["python"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (b"GET / HTTP/1.1\n", "protocol", "not a request"),
        (b"", "protocol", "not a request"),
        (b'{"protocol": 99, "nonce": "x", "op": "info"}\n', "protocol", "speaks protocol 99"),
        (
            f'{{"protocol": {PROTOCOL_VERSION}, "nonce": "x", "op": "reboot"}}\n'.encode(),
            "request",
            "unknown operation 'reboot'",
        ),
    ],
)
def test_what_is_no_request_is_answered_with_an_error(talk: Talk, line: bytes, kind: str, message: str) -> None:
    reply = reply_of(talk(line or b"\n"))
    assert not reply["ok"] and reply["error"]["kind"] == kind
    assert message in reply["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"model": "/nowhere/m.tflite"}, "file", "cannot read the model /nowhere/m.tflite: No such file"),
        ({"model_sha256": "0" * 64}, "file", "damaged on its way"),
        ({"runtime": "onnx"}, "request", "unknown runtime 'onnx'"),
        ({"bench": {"runs": 3}}, "request", "unknown bench field 'runs'"),
        ({"bench": None, "evaluate": True}, "request", "without data"),
        ({"inputs": {"wrong": "x.npy"}}, "data", "no data for input 'x'"),
        ({"inputs": {"x": "/nowhere/x.npy"}}, "data", "no array of numbers"),
        ({"nonce": "../../etc"}, "request", "is not made of letters"),
        ({"workdir": "/proc/nowhere"}, "storage", "cannot write in the work folder"),
        ({"workdir": 3}, "request", "'workdir' is of the type int"),
        ({"kernels": "fast"}, "request", "unknown kernels 'fast'"),
        ({"bench": {"max_runs": []}}, "request", "'max_runs' is []; expected a number"),
    ],
)
def test_requests_that_cannot_be_met(
    talk: Talk, tmp_path: Path, fields: dict[str, Any], kind: str, message: str
) -> None:
    reply = reply_of(talk(request(tmp_path, **fields)))
    assert not reply["ok"] and reply["error"]["kind"] == kind
    assert message in reply["error"]["message"]


def test_prints_and_logs_of_the_runtime_stay_out_of_stdout(talk: Talk, tmp_path: Path) -> None:
    done = talk(request(tmp_path, bench={"max_runs": 3, "min_runs": 1, "min_seconds": 0}))
    assert reply_of(done)["ok"]
    assert b"XNNPACK" in done.stderr, "the runtime's own log line, printed by C code"


def test_pickled_data_are_refused(talk: Talk, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([{"evil": True}], dtype=object), allow_pickle=True)
    reply = reply_of(talk(request(tmp_path, inputs={"x": str(path)}, bench=None, evaluate=True)))
    assert reply["error"]["kind"] == "data"


def test_the_outputs_stay_until_the_host_closes_stdin_and_not_longer(agent: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((3, 4), np.float32))
    message = request(tmp_path, bench=None, evaluate=True, inputs={"x": str(tmp_path / "x.npy")})
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, str(agent)], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        reply = json.loads((process.stdout.readline() + process.stdout.readline()).strip())
        output = Path(reply["result"]["evaluation"]["outputs"][0]["path"])
        np.testing.assert_array_equal(np.load(output), np.ones((3, 4)))
        process.stdin.close()
        assert process.wait(30) == 0
    assert not output.exists()


def test_a_host_that_goes_away_takes_agent_and_worker_with_it(agent: Path, tmp_path: Path) -> None:
    with started(agent, request(tmp_path)) as process:
        (worker,) = children(process.pid)
        assert process.stdin
        process.stdin.close()
        process.wait(30)
        wait_until(lambda: not is_running(worker))
    assert list((tmp_path / "work" / "runs").iterdir()) == []


def test_a_killed_agent_takes_its_worker_with_it(agent: Path, tmp_path: Path) -> None:
    with started(agent, request(tmp_path)) as process:
        (worker,) = children(process.pid)
        process.kill()
        wait_until(lambda: not is_running(worker))


def test_detached_it_outlives_the_end_of_stdin(agent: Path, tmp_path: Path) -> None:
    message = request(tmp_path, bench={"max_runs": 3, "min_runs": 1, "min_seconds": 0})
    done = subprocess.run(
        [sys.executable, str(agent), "--detached"], input=json.dumps(message).encode(), capture_output=True, timeout=60
    )
    assert reply_of(done)["ok"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_is_told_with_its_signal(agent: Path, tmp_path: Path, number: signal.Signals) -> None:
    with started(agent, request(tmp_path)) as process:
        (worker,) = children(process.pid)
        os.kill(worker, number)
        assert process.stdout
        error = json.loads((process.stdout.readline() + process.stdout.readline()).strip())["error"]
    assert (error["kind"], error["signal"], error["stage"]) == ("crashed", number.name, "invoke")
    assert f"killed by {number.name} while running the model" in error["message"]


def test_a_file_that_crashes_the_runtime_still_yields_a_reply(talk: Talk, tmp_path: Path, shared_data: Path) -> None:
    model = tmp_path / "cut.tflite"
    model.write_bytes((shared_data / "kws" / "ref_int8.tflite").read_bytes()[:500])
    error = reply_of(talk(request(tmp_path, model=str(model))))["error"]
    assert error["kind"] in ("file", "crashed"), "LiteRT checks its files; tflite-runtime dies of them"
    if error["kind"] == "crashed":
        assert error["stage"] == "load"


def test_a_second_job_waits_and_is_then_told_who_holds_the_device(agent: Path, talk: Talk, tmp_path: Path) -> None:
    with started(agent, request(tmp_path)) as process:
        done = talk(request(tmp_path, nonce="n2", wait_s=0.5))
    error = reply_of(done)["error"]
    assert error["kind"] == "busy"
    assert f"another job (process {process.pid}) has held the device for the 0.5 s" in error["message"]
    assert b'"progress":"waiting"' in done.stderr


def test_what_a_lost_run_left_is_removed_by_the_next(talk: Talk, tmp_path: Path) -> None:
    left = tmp_path / "work" / "runs" / "lost"
    left.mkdir(parents=True)
    (tmp_path / "work" / ".edgeopt-folder").touch()
    (left / "output-0.npy").write_bytes(b"1")
    assert reply_of(talk(request(tmp_path, bench={"max_runs": 1, "min_runs": 1, "min_seconds": 0})))["ok"]
    assert not left.exists()
