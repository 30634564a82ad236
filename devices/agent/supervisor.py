"""Runs a job in a worker process, tries the next runtime where the first does not load, and says what killed it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import List, Optional, Sequence, Tuple

from .protocol import AgentError, Message, decode, encode
from .records import Installation, Skipped
from .runtimes import KNOWN, ONNX, RUNTIMES, candidates

_DOING = {
    "start": "starting",
    "import": "importing the runtime",
    "delegate": "loading the delegate",
    "load": "loading the model",
    "invoke": "running the model",
}
# The signals that mean something, with what they usually mean here.
_LIKELY = {
    signal.SIGKILL: "the system most likely ran out of memory",
    signal.SIGSEGV: "the runtime crashed; the file may be damaged, or not made for this runtime",
    signal.SIGBUS: "the file is cut short, or the disk is full",
    signal.SIGABRT: "the runtime gave up",
    signal.SIGILL: "the runtime was built for another CPU",
    signal.SIGFPE: "the model divides by zero",
}


class Supervisor:
    """Runs workers one after the other; `stop` may be called from another thread at any time."""

    def __init__(self, inherit: Sequence[int] = ()) -> None:
        """Give every worker the file descriptors `inherit`, such as the lock on the device."""
        self._inherit = tuple(inherit)
        self._worker: Optional[subprocess.Popen[bytes]] = None
        self._stopped = False

    def stop(self) -> None:
        """Kill the worker, and start no other."""
        self._stopped = True
        worker = self._worker
        if worker is not None:
            worker.kill()

    def run(self, request: Message) -> Message:
        """Do the job of `request` with the first of its runtimes that loads.

        Returns:
            The worker's result, with ``runtimes_skipped``: what was tried before, each with its reason.

        Raises:
            AgentError: The job failed, no runtime loads, or the worker died.
        """
        names, skipped = candidates(request.get("runtime", "auto"))
        for name in names:
            try:
                result = self._work(dict(request, runtime=name))
            except AgentError as error:
                if not _is_runtimes_fault(error):
                    raise
                skipped.append((name, error.message))
            else:
                before = KNOWN[: KNOWN.index(name)]  # one that would have come later is not missed
                return dict(result, runtimes_skipped=[_skip(item) for item in skipped if item[0] in before])
        reasons = "; ".join("%s: %s" % item for item in skipped)
        message = "no %s can be used here (%s)" % (
            ONNX if skipped and skipped[-1][0] == ONNX else "TFLite runtime",
            reasons,
        )
        raise AgentError("runtime_missing", message, tried=[_skip(item) for item in skipped])

    def probe(self, nonce: str, delegate: Optional[str] = None) -> List[Installation]:
        """Return, for each runtime, its version, or the reason why it, or `delegate` with it, cannot be used."""
        found: List[Installation] = []
        for name in RUNTIMES:
            try:
                result = self.run({"nonce": nonce, "op": "probe", "runtime": name, "delegate": delegate})
                found.append({"name": name, "version": result["version"], "numpy": result["numpy"], "problem": None})
            except AgentError as error:
                reason = error.details.get("tried", [{"reason": error.message}])[0]["reason"]
                found.append({"name": name, "version": None, "numpy": None, "problem": reason})
        return found

    def _work(self, request: Message) -> Message:
        """Run one worker and return its result.

        Raises:
            AgentError: Its own, or "crashed" with the signal.
        """
        with start_worker(self._inherit) as worker:
            self._worker = worker
            try:
                if self._stopped:
                    worker.kill()
                stage, answer = converse(worker, request)
            finally:
                worker.kill()  # it has answered, or it is not wanted any more
                self._worker = None
                status = worker.wait()
        return outcome(status, stage, answer)


def start_worker(inherit: Sequence[int]) -> "subprocess.Popen[bytes]":
    """Start a worker, which gets the file descriptors `inherit`, and waits for its request."""
    argv = [sys.executable, archive_path(), "worker"]
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")  # NumPy needs no pool here
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=environment, pass_fds=tuple(inherit))


def outcome(status: int, stage: str, answer: Optional[Message]) -> Message:
    """Return the result of a worker that has ended with `status`, from what `converse` returned.

    Raises:
        AgentError: Its own, or "crashed" with the signal.
    """
    if answer is None:
        raise _death(status, stage)
    if not answer["ok"]:
        details = dict(answer["error"])
        raise AgentError(details.pop("kind"), details.pop("message"), **details)
    result: Message = answer["result"]
    return result


def archive_path() -> str:
    """Return the path of the .pyz that this module was loaded from."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def converse(worker: subprocess.Popen[bytes], request: Message) -> Tuple[str, Optional[Message]]:
    """Send the request, and return the last stage that was told and the reply, None when none came."""
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("the worker was started without pipes")
    try:
        worker.stdin.write(encode(request))
        worker.stdin.flush()
    except BrokenPipeError:
        pass
    stage = "start"
    for line in worker.stdout:
        message = decode(line) or {}
        if "stage" in message:
            stage = message["stage"]
        elif "ok" in message:
            return stage, message
    return stage, None


def _death(status: int, stage: str) -> AgentError:
    doing = _DOING[stage]
    if status >= 0:
        return AgentError("crashed", "the worker ended with status %d while %s" % (status, doing), stage=stage)
    try:
        number = signal.Signals(-status)
        name, likely = number.name, _LIKELY.get(number, "")
    except ValueError:
        name, likely = "signal %d" % -status, ""
    message = "the worker was killed by %s while %s" % (name, doing)
    return AgentError("crashed", message + (": " + likely if likely else ""), stage=stage, signal=name)


def _is_runtimes_fault(error: AgentError) -> bool:
    return error.kind == "runtime_missing" or (error.kind == "crashed" and error.details.get("stage") == "import")


def _skip(item: Tuple[str, str]) -> Skipped:
    return {"runtime": item[0], "reason": item[1]}
