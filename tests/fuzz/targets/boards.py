"""What a board says: the reply to a job, and its signs of life; and, on the board, what a host asks."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgeopt.devices import BenchPlan, Device, FakeTransport, RunOptions, load_profile
from edgeopt.devices.agent.delegate import parse
from edgeopt.devices.agent.plan import Plan
from edgeopt.devices.agent.protocol import PROTOCOL_VERSION, AgentError, Message, decode, parse_request
from edgeopt.devices.agent.runtimes import candidates
from edgeopt.devices.agent.serve import _free_bytes
from edgeopt.devices.agent.worker import _answer
from edgeopt.devices.agent.workfolder import WorkFolder
from edgeopt.devices.bench import run_bench
from edgeopt.devices.golden import Golden
from edgeopt.devices.parity import Limits, compare_measurements
from edgeopt.devices.readiness import _ready
from edgeopt.devices.runner import Timeouts
from edgeopt.errors import DeviceError

from ...devices.conftest import halving_model
from ..mutator import mutate_json
from ..readers import Reader

NONCE = b"n-n-n-n"
_HURRY = Timeouts(silence_s=2.0, job_s=4.0, exit_s=1.0)
_SAMPLES = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)


class _Said(FakeTransport):
    """A device whose agent says these bytes: a line on stderr, the rest on stdout."""

    def __init__(self, said: bytes, files: Mapping[str, bytes]) -> None:
        super().__init__(lambda request: {}, files=files)
        self._said = said

    def _serve(self, line: bytes, stdout: IO[bytes], stderr: IO[bytes]) -> bool:
        nonce = str((decode(line) or {}).get("nonce", "")).encode()
        progress, _, reply = self._said.replace(NONCE, nonce).partition(b"\n")
        stderr.write(progress + b"\n")
        stdout.write(b"\n" + reply + b"\n")
        return False


@cache
def _outputs() -> dict[str, bytes]:
    return FakeTransport.measuring(outputs={"y": np.arange(8, dtype=np.int8).reshape(2, 4)}).files


def _said(result: Mapping[str, Any], **progress: object) -> bytes:
    nonce = NONCE.decode()
    sign = {"nonce": nonce, "progress": "bench", "done": 1, "total": None, **progress}
    return b"\n".join(json.dumps(line).encode() for line in (sign, {"nonce": nonce, "ok": True, "result": result}))


_LOOK = {"frequency_mhz": 1500.0, "temperature_c": 50.0, "throttling": {"raw": "0x0", "flags": []}, "power_w": 3.5}
_STATE = {
    **_LOOK,
    "governors": ["performance"],
    "load_average": [0.1, 0.2, 0.3],
    "memory_available_bytes": 1 << 30,
    "busy": [{"name": "x", "pid": 3, "cores": 0.9}],
}
_BOARD = {
    "model": "Pi", "cpu_model": None, "machine": "aarch64", "cores": 4, "kernel": "6.1", "page_size_bytes": 4096,
    "memory_bytes": 1 << 32, "libc": "glibc 2.36", "python": "3.11.2", "emulator": None, "emulated": False,
}  # fmt: skip
_CHIP = {"path": "/dev/bus/usb/001/002", "permitted": False, "speed_mbps": 480.0}


def _replies() -> Mapping[str, bytes]:
    part = {"p50_ns": 2e6, "p95_ns": 3e6, "runs": 20, "seconds": 0.1, "stable": True, "load_ns": 9, "first_ns": 9}
    latency = {
        **{"samples_ns": [2000000 + place for place in range(60)], "load_ns": 10**6, "first_ns": 10**6},
        **{"warmup_runs": 1, "seconds": 60.0, "stable": True, "stopped_by": "stable", "runs": 60, "kept_every": 1},
        "conditions": {"board": _BOARD, "before": _STATE, "after": _STATE, "peak_rss_bytes": 1 << 20},
        "observed": [{**_LOOK, "seconds": 1.0, "runs": 20}],
        "comparison": {"first_ns": [5, 6, 7], "second_ns": [6, 7, 8], "ratio": 0.9, "process_ratios": [0.8, 0.9]},
        "processes": [part, part],
    }
    tensor = {"name": "y", "path": "/fake/output-0.npy", "scale": 1.0, "zero_point": 0, "dtype": "int8"}
    fed = {"name": "x", "dtype": "int8", "scale": 0.5, "zero_point": -3, "low": -1.0, "high": 1.0}
    way = {"samples": 2, "batch": 1, "workers": 1, "reasons": ["few_samples"], "seconds": 0.1}
    profile = {"runtime": "ai_edge_litert", "version": "2", "delegate": "none", "threads": 1, "kernels": "default"}
    base = {"kernel_profile": profile, "runtimes_skipped": [{"runtime": "x", "reason": "y"}], "machine": "aarch64"}
    operators = [{"op": "ADD", "by": "xnnpack", "index": 0, "ms": 0.1, "share": 1.0}]
    more = {
        "edge_tpu": {"library": None, "usb": [_CHIP], "pci": [], "device": "any", "runtime_version": 14},
        "op_profile": {"runs": 3, "operators": operators},
    }
    measured = {**base, "latency": latency, "evaluation": {**way, "inputs": [fed], "outputs": [tensor]}}
    nonce = NONCE.decode()
    failed = {"nonce": nonce, "ok": False, "error": {"kind": "busy", "message": "held", "remedy": "wait"}}
    sign = json.dumps({"nonce": nonce, "progress": "waiting"}).encode()
    return {
        "measured": _said(measured),
        "more": _said({**measured, **more}, total=3),
        "failed": sign + b"\n" + json.dumps(failed).encode(),
    }


def _mutate(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Damage one of the two lines."""
    progress, _, reply = data.partition(b"\n")
    if rng.random() < 0.2:
        return mutate_json(progress, [], rng).replace(b"\n", b" ") + b"\n" + reply
    return progress + b"\n" + mutate_json(reply, [], rng)


def _measure(data: bytes) -> None:
    with Device(_Said(data, _outputs()), load_profile("local"), timeouts=_HURRY) as device:
        options = RunOptions(bench=BenchPlan())
        seen: list[object] = []
        found = device.measure(halving_model(), {"x": _SAMPLES}, options, on_progress=seen.append)
        json.dumps(found.to_dict(), allow_nan=False, ensure_ascii=False).encode()
        assert all(isinstance(text, str) for text in found.warnings)
        assert all(np.isfinite(values).all() for values in found.real_outputs().values())
        device.measure = lambda *_, **__: found  # type: ignore[method-assign]
        timed = run_bench(device, halving_model())
        json.dumps(timed.to_dict(), allow_nan=False, ensure_ascii=False).encode()
        str(found.kernel_profile), timed.verdict


def _infos() -> Mapping[str, bytes]:
    made = {
        "protocol": PROTOCOL_VERSION,
        "board": _BOARD,
        "state": _STATE,
        "runtimes": [
            {"name": "ai_edge_litert", "version": "2", "numpy": "1.26", "problem": None},
            {"name": "tflite_runtime", "version": None, "numpy": None, "problem": "not installed"},
        ],
        "edge_tpu": {"library": "libedgetpu.so.1", "usb": [_CHIP], "pci": []},
        "disk_free_bytes": 1 << 30,
        "time_s": 1.7e9,
    }
    return {"info": _said(made), "bare": _said({**made, "disk_free_bytes": None, "state": {**_STATE, "busy": None}})}


def _info(data: bytes) -> None:
    with Device(_Said(data, {}), load_profile("coral-usb"), timeouts=_HURRY) as device:
        for line in _ready(device, "setup"):
            assert line.found.isprintable()
            json.dumps(line.to_dict(), ensure_ascii=False).encode()


_ARRAYS = {"input/x": _SAMPLES, "output/0": np.arange(8, dtype=np.int8).reshape(2, 4), "output/1": _SAMPLES}


def _metas() -> Mapping[str, bytes]:
    outputs = [{"name": "y", "scale": 1.0, "zero_point": 0}, {"name": "z", "scale": None, "zero_point": 0}]
    profile = {"runtime": "ai_edge_litert", "version": "2", "delegate": "none", "threads": 1, "kernels": "reference"}
    head = {"format": 1, "sha256": "0" * 64, "device": "d", "machine": "x86_64", "kernel_profile": profile}
    return {"two": json.dumps({**head, "outputs": outputs}).encode()}


def _golden(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.npz"
        np.savez(path, meta=np.frombuffer(data, np.uint8), **_ARRAYS)
        found = Golden.load(path)
        report = compare_measurements(Limits("L3"), found.measurement, found.measurement)
        json.dumps(report.to_dict(), allow_nan=False, ensure_ascii=False).encode()
        assert all(np.isfinite(values).all() for values in found.measurement.real_outputs().values())


@cache
def _folder() -> Path:
    """Return this process's folder, which it is in from then on: a damaged path is relative to it."""
    folder = Path(tempfile.mkdtemp())
    os.chdir(folder)
    (folder / "model.tflite").write_bytes(halving_model())
    np.save(folder / "x.npy", _SAMPLES)
    return folder


def _requests() -> Mapping[str, bytes]:
    head = {"protocol": PROTOCOL_VERSION, "nonce": "abc", "workdir": "work", "wait_s": 60.0}
    plan = BenchPlan().__dict__
    kind = {"runtime": "auto", "threads": 1, "kernels": "reference", "delegate": None, "minimum_runtime": None}
    job = {**head, "op": "measure", "model": "model.tflite", **kind, "keep": False, "op_profile": False}
    made = {
        "info": {**head, "op": "info", "delegate": "usb:0"},
        "bench": {**job, "bench": dict(plan), "evaluate": False},
        "evaluate": {**job, "bench": None, "evaluate": True, "inputs": {"x": "x.npy"}},
    }
    return {name: json.dumps(request).encode() for name, request in made.items()}


def _request(data: bytes) -> None:
    _folder()
    try:
        request = parse_request(data.split(b"\n")[0])
        if request["op"] == "info":
            _free_bytes(request.get("workdir") or "/")
            parse(request.get("delegate") or "edgetpu")
        else:
            _work(request)
    except AgentError as error:
        raise DeviceError(error.message or "?") from error


def _work(request: Message) -> None:
    """Do what the agent and its worker do, but for the time that a timing takes."""
    if request.get("bench") is not None:
        Plan.from_data(request["bench"]).split()
    candidates(request.get("runtime") or "auto")
    place = Path(request["workdir"])
    run = "."
    if not place.is_absolute() and ".." not in place.parts:
        folder = WorkFolder(request["workdir"])
        try:
            folder.acquire(0.0, lambda text: None, lambda: False)
            run = folder.open_run(request["nonce"])
        finally:
            os.close(folder.lock)
    quick = {"bench": None, "threads": min(2, request.get("threads") or 1), "runtime": "ai_edge_litert"}
    answer = decode(_answer({**request, **quick, "folder": run, "quiet": True}, lambda stage: None).strip())
    assert answer is not None
    if not answer["ok"]:
        assert answer["error"]["kind"] != "internal", answer["error"]
        raise DeviceError(answer["error"]["message"] or "?")


_HOST = ("devices/replies.py", "devices/runner.py", "devices/measurement.py", "devices/agent/outside.py")
READERS = {
    "reply": Reader(_measure, _replies, _HOST, (), _mutate, cases=400),
    "info": Reader(_info, _infos, ("devices/replies.py", "devices/readiness.py"), (), _mutate, cases=400),
    "golden": Reader(_golden, _metas, ("devices/golden.py", "devices/replies.py"), (), mutate_json, cases=400),
    "request": Reader(
        _request,
        _requests,
        ("devices/agent/protocol.py", "devices/agent/plan.py", "devices/agent/worker.py"),
        (),
        mutate_json,
    ),
}
