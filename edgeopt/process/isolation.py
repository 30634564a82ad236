"""Run one function in a child process, so that a crash inside TensorFlow becomes an error and not the end.

The parent sends one JSON request on stdin and keeps it open (its end tells the child that the parent is gone). The
child answers on its real stdout with JSON lines, ``{"event": ...}`` while it works and ``{"reply": ...}`` or
``{"error": ...}`` last; whatever TensorFlow prints goes to stderr, of which the parent keeps the tail.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from .. import errors
from ..artifact.scratch import out_of_space, scratch_folder
from .clean import python_command

if TYPE_CHECKING:
    from .fork_server import WarmChild

Event = Mapping[str, Any]
OnEvent = Callable[[Event], None]
# What a child that converts or runs a model imports first.
TENSORFLOW = ("tensorflow", "keras", "tf_keras")
# TFMOT sets it in the process that imports it, for all that come after; a child's tf.keras is to be the user's own.
_LEGACY_KERAS = "TF_USE_LEGACY_KERAS"
_LEFT_BY_TFMOT = () if _LEGACY_KERAS in os.environ else (_LEGACY_KERAS,)
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "NONE"}


class ChildCrash(Exception):
    """The child ended without a reply. No `EdgeoptError`: its callers know what to say of it.

    Attributes:
        signal_name: The signal that ended it, such as SIGSEGV, or "" if it exited.
        events: Everything it said before.
        tail: The last lines of its stderr.
    """

    def __init__(self, signal_name: str, events: list[Event], tail: str) -> None:
        super().__init__(signal_name or "the child process ended without a reply")
        self.signal_name = signal_name
        self.events = events
        self.tail = tail


class ChildTraceback(Exception):
    """Where in the child an error was raised; the cause of the error in the parent."""

    def __str__(self) -> str:
        """Return the child's traceback."""
        return f"\n{self.args[0]}"


def run_isolated(
    target: str,
    request: Mapping[str, object],
    on_event: OnEvent | None = None,
    *,
    modules: Sequence[str] = (),
) -> Any:
    """Call ``module:function(request, emit)`` in a child process and return its reply.

    Args:
        target: The function, importable by name.
        request: What it is called with; JSON values only (see `edgeopt.process.request.Request`).
        on_event: Called with each event that the function emits.
        modules: What the child is to have imported already, where it takes long: see `edgeopt.process.fork_server`.

    Raises:
        ChildCrash: The child died (its signal is named) or ended without a reply.
        EdgeoptError: What the function raised, as it raised it.
    """
    errors.refuse_windows("Converting, training or running a Keras model")
    # TensorFlow leaves files in a child that ends at once; they go with their folder.
    with scratch_folder("child") as folder:
        return _run(target, request, on_event, str(folder), modules)


def _run(
    target: str,
    request: Mapping[str, object],
    on_event: OnEvent | None,
    temporary: str,
    modules: Sequence[str],
) -> Any:
    verbose = _verbose()
    child = _start(target, {**_environment(), "TMPDIR": temporary}, () if verbose else modules)
    if child.stdin is None or child.stdout is None or child.stderr is None:
        raise RuntimeError("the child process was started without pipes")
    tail: deque[str] = deque(maxlen=60)
    drain = threading.Thread(target=_drain, args=(child.stderr, tail, verbose), daemon=True)
    drain.start()
    events: list[Event] = []
    try:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
        last = _listen(child.stdout, events, on_event)
        if last is None:
            code = child.wait()
            drain.join(5)
            crash = ChildCrash(signal.Signals(-code).name if code < 0 else "", events, "\n".join(tail))
            raise out_of_space(OSError(crash.tail)) or crash
    finally:
        child.kill()
        child.wait()
        drain.join(5)
        for stream in (child.stdout, child.stderr):
            stream.close()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
    if "error" in last:
        raise _rebuild(last["error"]) from ChildTraceback(last["error"]["traceback"])
    return last["reply"]


def warm_up(modules: Sequence[str] = TENSORFLOW) -> None:
    """Begin to import `modules` for the children to come, beside what this process does meanwhile."""
    if platform.system() == "Linux" and not _verbose():
        from . import fork_server

        fork_server.warm_up(_environment(), modules)


def _verbose() -> bool:
    return os.environ.get("EDGEOPT_VERBOSE") == "1"


def _environment() -> dict[str, str]:
    inherited = dict(os.environ)
    if "tensorflow_model_optimization" in sys.modules:
        for name in _LEFT_BY_TFMOT:
            inherited.pop(name, None)
    return {**inherited, "KERAS_BACKEND": "tensorflow", **({} if _verbose() else _QUIET)}


def _start(target: str, environment: Mapping[str, str], modules: Sequence[str]) -> subprocess.Popen[bytes] | WarmChild:
    """Start the child: a fork of a process that has the modules, or else a new one."""
    if modules and platform.system() == "Linux":  # macOS's frameworks do not survive a fork
        from . import fork_server

        with contextlib.suppress(fork_server.ServerLost):
            return fork_server.start(target, environment, modules)
    pipe = subprocess.PIPE
    command = python_command("edgeopt.process.child", target)
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)


def _listen(stream: IO[bytes], events: list[Event], on_event: OnEvent | None) -> dict[str, Any] | None:
    for line in stream:
        message = json.loads(line)
        if "event" not in message:
            return dict(message)
        events.append(message["event"])
        if on_event is not None:
            on_event(message["event"])
    return None


def _drain(stream: IO[bytes], tail: deque[str], verbose: bool) -> None:
    for line in stream:
        text = line.decode(errors="replace").rstrip()
        tail.append(text)
        if verbose:
            print(text, file=sys.stderr)


def _rebuild(error: Mapping[str, str]) -> Exception:
    kind = getattr(errors, error["class"], None)
    if isinstance(kind, type) and issubclass(kind, errors.EdgeoptError):
        return kind(error["message"])
    return errors.EdgeoptError(f"internal error in the child process: {error['class']}: {error['message']}")
