"""A device that is not there: `FakeTransport`, for tests of code that uses edgeopt."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from ...errors import DeviceError
from ..agent.protocol import AgentError, Message, decode, failure, parse_request, reply
from ..agent.records import Conditions, Evaluated, Timing

Answer = Callable[[Message], Mapping[str, object]]


class DeviceGone(Exception):
    """Raised by an answer function: the agent ends without a reply, with this text on its stderr."""


class FakeTransport:
    """A device whose agent is a Python function: it gets the request and returns the result.

    The function may raise `AgentError`, for what a real agent would report, or `DeviceGone`, for a lost link. Files
    that are shipped are kept in `shipped` (path on the device -> bytes); files that the host shall fetch are put into
    `files`.

    Example:
        >>> transport = FakeTransport.measuring(outputs={"scores": scores}, samples_ms=[2.0, 2.1, 1.9])
        >>> with Device(transport, load_profile("local")) as device:
        ...     device.measure(model, {"input": samples}).latency.figures["p50"]
        2.0
    """

    def __init__(self, answer: Answer, *, files: Mapping[str, bytes] | None = None, banner: bytes = b"") -> None:
        """Answer with `answer`; `banner` is printed before the reply, as a login shell might."""
        self._answer = answer
        self._banner = banner
        self.files = dict(files or {})
        self.shipped: dict[str, bytes] = {}
        self.requests: list[Message] = []
        self.closed = False

    @classmethod
    def measuring(
        cls,
        *,
        outputs: Mapping[str, npt.NDArray[Any]] | None = None,
        samples_ms: Sequence[float] = (1.0,),
        first_ms: float = 1.0,
        load_ms: float = 1.0,
        runtime: str = "ai_edge_litert",
    ) -> FakeTransport:
        """Return a device that answers every measurement with these outputs (real values) and latencies.

        Two files that are timed in turns take the same.
        """
        found = outputs or {}
        files = {f"/fake/output-{position}.npy": _npy(array) for position, array in enumerate(found.values())}

        def answer(request: Message) -> Message:
            result = _measured(runtime, request)
            if request["bench"] is not None:
                result["latency"] = _latency(samples_ms, first_ms, load_ms)
                if "against" in request:
                    each = result["latency"]["samples_ns"]
                    result["latency"]["comparison"] = {"first_ns": each, "second_ns": each}
            if request["evaluate"]:
                result["evaluation"] = _evaluation(found)
            return result

        return cls(answer, files=files)

    @property
    def name(self) -> str:
        """How messages call the device."""
        return "the fake device"

    @property
    def workdir(self) -> str:
        """The folder that paths on the fake device begin with; it exists nowhere."""
        return "/fake"

    @property
    def python(self) -> Sequence[str]:
        """The argv of a Python that is never started."""
        return ["python3"]

    def put(self, source: Path, *, timeout_s: float) -> str:
        """Keep the content."""
        path = f"{self.workdir}/files/{source.name}"
        self.shipped[path] = source.read_bytes()
        return path

    def get(self, path: str, target: Path, *, timeout_s: float) -> None:
        """Write the content of `files`."""
        if path not in self.files:
            raise DeviceError(f"Cannot fetch {path} from {self.name}: it is not there; add it to `files`.")
        target.write_bytes(self.files[path])

    def start(self, argv: Sequence[str]) -> _FakeProcess:
        """Start a thread that answers one request."""
        return _FakeProcess(self._serve)

    def remove(self, path: str, *, timeout_s: float) -> None:
        """Forget a file, or all below a folder."""
        for kept in (self.files, self.shipped):
            for found in [name for name in kept if name == path or name.startswith(f"{path}/")]:
                del kept[found]

    def close(self) -> None:
        """Remember in `closed` that it was called."""
        self.closed = True

    def _serve(self, line: bytes, stdout: IO[bytes], stderr: IO[bytes]) -> bool:
        """Answer one line; return whether the agent stays until the host closes stdin."""
        stdout.write(self._banner)
        nonce = str((decode(line) or {}).get("nonce", ""))
        try:
            request = parse_request(line)
            self.requests.append(request)
            stdout.write(reply(nonce, self._answer(request)))
        except AgentError as error:
            stdout.write(failure(nonce, error))
        except DeviceGone as error:
            stderr.write(f"{error}\n".encode())
            return False
        return True


class _FakeProcess:
    """A `Process` that is a thread; its streams are real pipes."""

    def __init__(self, serve: Callable[[bytes, IO[bytes], IO[bytes]], bool]) -> None:
        self._serve = serve
        request, self.stdin = _pipe()
        self.stdout, answer = _pipe()
        self.stderr, log = _pipe()
        self._thread = threading.Thread(target=self._run, args=(request, answer, log), daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> int:
        """Return 0 once the thread has ended."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError("the fake agent still runs")
        return 0

    def kill(self) -> None:
        """A thread cannot be killed; it ends when its stdin does."""
        self.stdin.close()

    def _run(self, request: IO[bytes], answer: IO[bytes], log: IO[bytes]) -> None:
        with request:
            with answer, log:
                stay = self._serve(request.readline(), answer, log)
            if stay:
                request.read()


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb")


def _npy(array: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _measured(runtime: str, request: Message) -> Message:
    profile = {"runtime": runtime, "version": "0", "delegate": "none"}
    profile.update({name: request[name] for name in ("threads", "kernels")})
    return {"kernel_profile": profile, "runtimes_skipped": []}


def _latency(samples_ms: Sequence[float], first_ms: float, load_ms: float) -> Timing:
    known = ("governors", "frequency_mhz", "temperature_c", "throttling", "power_w", "load_average", "busy")
    state = dict.fromkeys((*known, "memory_available_bytes"))
    around = {"board": {"model": "fake", "emulated": False}, "before": state, "after": state, "peak_rss_bytes": None}
    return {
        "samples_ns": [round(value * 1e6) for value in samples_ms],
        "first_ns": round(first_ms * 1e6),
        "load_ns": round(load_ms * 1e6),
        "warmup_runs": 1,
        "seconds": sum(samples_ms) / 1e3,
        "stable": True,
        "stopped_by": "stable",
        "conditions": cast(Conditions, around),
    }


def _evaluation(outputs: Mapping[str, npt.NDArray[Any]]) -> Evaluated:
    counts = {len(array) for array in outputs.values()}
    listed = [
        {"name": name, "path": f"/fake/output-{position}.npy", "scale": None, "zero_point": 0}
        for position, name in enumerate(outputs)
    ]
    way = {"batch": 1, "workers": 1, "reasons": [], "seconds": 0.0, "inputs": []}
    return cast(Evaluated, {**way, "samples": max(counts, default=0), "outputs": listed})
