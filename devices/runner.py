"""One job on a device: start the agent, speak the protocol, and map what goes wrong to edgeopt's exceptions."""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO

from ..artifact.typed import Unfit, fitted
from ..errors import (
    DataError,
    DeviceError,
    DeviceLostError,
    EdgeoptError,
    FileFormatError,
    InvokeError,
    ModelError,
    RuntimeMissingError,
    UsageError,
)
from .agent.protocol import PROTOCOL_VERSION, Message, decode, encode
from .transport.base import Process, Transport
from .transport.words import clean, clean_values, lines, shown

TAIL_LINES = 20
MOST_EVENTS = 10_000

# Kind of an agent's error -> the exception that it becomes here, and what the user can do about it ("": the device
# knows, as `runtime_remedy`).
ERRORS: dict[str, tuple[type[EdgeoptError], str]] = {
    "protocol": (DeviceError, "install the same edgeopt release on both sides"),
    "request": (UsageError, "correct it"),
    "busy": (DeviceError, "wait for it to end, or end it"),
    "storage": (DeviceError, "free some space or make the folder writable"),
    "data": (DataError, "pass the samples as real values in the model's own shape"),
    "file": (FileFormatError, "convert or download the model again"),
    "unsupported": (ModelError, "use a runtime that has it, or convert without that operator"),
    "invoke": (InvokeError, "check the model with `edgeopt inspect`"),
    "runtime_missing": (RuntimeMissingError, ""),
    "delegate": (DeviceError, "install its library there, of the runtime's own version"),
    "memory": (DeviceError, "use a smaller model or a device with more memory"),
    "crashed": (DeviceError, "try the other runtime, and check the file with `edgeopt inspect`"),
    "internal": (DeviceError, "report it with this message"),
}


@dataclass(frozen=True)
class Timeouts:
    """How long a host waits, in seconds.

    Attributes:
        transfer_s: How long one file may take to be shipped or fetched (default 600).
        silence_s: How long a job may give no sign of life (default 300); a working agent gives one at least every few
            seconds, and after every inference.
        job_s: How long a whole job may take (default 21600, which is six hours).
        wait_s: How long the agent waits for another job on the device to end (default 60).
        exit_s: How long the agent may take to end once it has been told to (default 15); then it is killed.
    """

    transfer_s: float = 600.0
    silence_s: float = 300.0
    job_s: float = 21600.0
    wait_s: float = 60.0
    exit_s: float = 15.0


@dataclass(frozen=True)
class Progress:
    """A sign of life: `done` of `total` (None: unknown) steps of `stage` ("waiting", "bench", "evaluate")."""

    stage: str
    done: int
    total: int | None


class Job:
    """One job, from the start of the agent to its end; a context manager.

    Inside the ``with`` block the device keeps the files that the job has written, and takes no other job; leaving it,
    also by an exception, ends the agent.

    Example:
        >>> with Job(transport, agent, "info", {}) as job:
        ...     facts = job.result()
    """

    def __init__(
        self,
        transport: Transport,
        agent: str,
        operation: str,
        fields: Mapping[str, object],
        *,
        timeouts: Timeouts | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        runtime_remedy: str = "install ai-edge-litert or tflite-runtime there",
    ) -> None:
        """Prepare it.

        Args:
            transport: How the device is reached; it stays open.
            agent: The absolute path of the agent, a .pyz file, on the device.
            operation: One of `edgeopt.devices.agent.protocol.OPERATIONS`.
            fields: The operation's own fields of the request.
            timeouts: How long to wait; None takes the defaults of `Timeouts`.
            on_progress: Called with every sign of life, in the thread that waits in `result`; None ignores them.
            runtime_remedy: How a runtime is installed on this device, for the error message.
        """
        self._transport, self._agent = transport, agent
        self._timeouts = timeouts or Timeouts()
        self._on_progress = on_progress
        self._runtime_remedy = runtime_remedy
        self._nonce = secrets.token_hex(16)
        head = {"protocol": PROTOCOL_VERSION, "nonce": self._nonce, "op": operation}
        place = {"workdir": transport.workdir, "wait_s": self._timeouts.wait_s}
        self._request = {**head, **place, **fields}
        self._events: queue.Queue[Progress | Message | None] = queue.Queue()  # None: there will be no other
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process: Process | None = None

    def __enter__(self) -> Job:
        """Start the agent and send the request.

        Raises:
            DeviceError: The agent cannot be started.
        """
        self._process = self._transport.start([*self._transport.python, self._agent])
        self._readers = [
            threading.Thread(target=self._read_stdout, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_stderr, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        with suppress(OSError):  # it has ended already: `result` says so
            self._process.stdin.write(encode(self._request))
            self._process.stdin.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the agent end and clean up; kill it when it does not."""
        process = self._started()
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(self._timeouts.exit_s)
        except TimeoutError:
            process.kill()
            with suppress(TimeoutError):
                process.wait(self._timeouts.exit_s)
        for reader in self._readers:
            reader.join(self._timeouts.exit_s)
        while kind is None and not self._events.empty():  # its last signs of life may have come behind the reply
            self._tell(self._events.get())
        for stream in (process.stdout, process.stderr):
            with suppress(OSError):
                stream.close()

    def result(self) -> Message:
        """Wait for the reply and return its result.

        Raises:
            DeviceLostError: The agent ended, or gave no sign of life for too long.
            EdgeoptError: What the agent reports, as the class that `ERRORS` names.
        """
        end = time.monotonic() + self._timeouts.job_s
        while True:
            left_s = end - time.monotonic()
            if left_s <= 0:
                raise self._lost(f"did not finish within {self._timeouts.job_s:g} s")
            try:
                event = self._events.get(timeout=min(self._timeouts.silence_s, left_s))
            except queue.Empty:
                if left_s <= self._timeouts.silence_s:
                    continue
                raise self._lost(f"gave no sign of life for {self._timeouts.silence_s:g} s") from None
            if event is None:
                raise self._lost(self._ending())
            if not isinstance(event, Progress):
                return self._outcome(event)
            self._tell(event)

    def _tell(self, event: Progress | Message | None) -> None:
        if self._on_progress is not None and isinstance(event, Progress):
            self._on_progress(event)

    def _outcome(self, message: Message) -> Message:
        result = message.get("result")
        if message["ok"] is True and isinstance(result, dict):
            outputs = result.get("evaluation")  # with the names that the model has
            return {**clean_values(result), **({} if outputs is None else {"evaluation": outputs})}
        error = message.get("error")
        kind = str(error.get("kind")) if isinstance(error, dict) else ""
        if message["ok"] is not False or not isinstance(error, dict) or kind not in ERRORS:
            raise self._lost("sent a reply that is none")
        (exception, usual), text = ERRORS[kind], clean(str(error.get("message", "")))
        remedy = clean(str(error.get("remedy") or "")) or usual or self._runtime_remedy
        raise exception(f"{_capital(self._transport.name)}: {text}; {remedy}.")

    def _lost(self, what: str) -> DeviceLostError:
        tail = " | ".join(self._tail) or "nothing"
        remedy = "check the device's power, memory and link, and run it again"
        return DeviceLostError(f"The agent on {self._transport.name} {what}; {remedy}. Its last words were: {tail}")

    def _ending(self) -> str:
        try:
            status = self._started().wait(self._timeouts.exit_s)
        except TimeoutError:
            return "closed its output without an answer"
        self._readers[1].join(self._timeouts.exit_s)  # the tail of stderr is what explains it
        return f"ended with status {status} before it answered"

    def _read_stdout(self, stream: IO[bytes]) -> None:
        replied = False
        try:
            for line in lines(stream):
                message = decode(line)
                if message is not None and message.get("nonce") == self._nonce and "ok" in message:
                    if not replied:  # there is one; more would only pile up
                        self._events.put(message)
                    replied = True
                elif line.strip():
                    self._tail.append(shown(line))
        finally:  # whatever it read: who waits for the reply must not wait for ever
            self._events.put(None)

    def _read_stderr(self, stream: IO[bytes]) -> None:
        for line in lines(stream):
            message = decode(line)
            sign = self._sign_of_life(message)
            if sign is not None:
                if self._events.qsize() < MOST_EVENTS:  # a board may say more than anyone reads
                    self._events.put(sign)
            elif line.strip():
                self._tail.append(shown(line))

    def _sign_of_life(self, message: Message | None) -> Progress | None:
        if message is None or message.get("nonce") != self._nonce or "progress" not in message:
            return None
        told = {"stage": message["progress"], "done": message.get("done", 0), "total": message.get("total")}
        with suppress(Unfit):
            sign: Progress = fitted(Progress, clean_values(told), "progress")
            return sign
        return None

    def _started(self) -> Process:
        if self._process is None:
            raise RuntimeError("the job has not been started; use it in a with block")
        return self._process


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
