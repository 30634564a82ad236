"""A process that has TensorFlow loaded and forks a child for each request: the second child starts in no time.

Importing TensorFlow takes some five seconds, and every conversion runs in a child process. The first request starts a
server, which imports and waits; each request is a fork of it. A child is as good as a new process: it runs in the
folder, the environment and the module path of its parent, and its death is its own. The server imports, and computes
nothing: no thread is in the middle of anything when it forks.

The server ends with the process that started it, or when nothing was asked of it for `IDLE_S` seconds.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, NoReturn

from .clean import module_path, python_command

IDLE_S = 300.0  # an epoch or two may lie between two conversions
# Variables that are read while modules are imported: a server that has others is of no use.
_READ_AT_IMPORT = ("ABSL", "CUDA", "GRPC", "KERAS", "LD_", "MKL", "OMP_", "OPENBLAS", "PYTHON", "TF_", "XLA")
# What TensorFlow and Keras import where it is installed, for wrappers, inputs and notebooks that no child uses, and all
# of Keras 3 where nobody asked for it: 3 of 7 seconds. A child can import them all the same.
_SPARED = ("sklearn", "pandas", "IPython")
_KERAS = "keras"
_KERAS_INSIDE = "keras.src"  # TensorFlow looks for the package, and does without if it cannot be imported
_LENGTH = 4  # bytes before a request that say how long it is


class ServerLost(Exception):
    """The server ended before it forked a child."""


class WarmChild:
    """A forked child, with the part of `subprocess.Popen` that is needed of it."""

    def __init__(self, server: _Server, pid: int, streams: tuple[IO[bytes], IO[bytes], IO[bytes]]) -> None:
        self._server, self._pid = server, pid
        self._code: int | None = None
        self.stdin, self.stdout, self.stderr = streams

    def wait(self) -> int:
        """Wait for its end; returns its exit code, negative for a signal, and 0 if the server is lost."""
        if self._code is None:
            self._code = self._server.wait()
            _give_back(self._server)
        return self._code

    def kill(self) -> None:
        """Kill it, if it runs; the server keeps its number from being used again until `wait` returns."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)


def start(target: str, environment: Mapping[str, str], modules: Sequence[str]) -> WarmChild:
    """Fork a child that serves `target`, as `isolation` does, from a process that has imported `modules`.

    Args:
        target: ``module:function``.
        environment: The environment variables of the child.
        modules: What is to be imported beforehand, the slowest first; what cannot be is left to the child.

    Raises:
        ServerLost: The server cannot be started, or died.
    """
    fresh = False
    while True:
        server = None if fresh else _take(environment, modules)
        if server is None:
            fresh, server = True, _Server(environment, modules)
        try:
            return server.fork(target, environment, modules)
        except (OSError, ValueError) as error:
            server.close()
            if fresh:
                raise ServerLost(str(error)) from error
            fresh = True
        except BaseException:
            server.close()  # interrupted while it was still importing: nobody would wait for it
            raise


def warm_up(environment: Mapping[str, str], modules: Sequence[str]) -> None:
    """Let a server import `modules` already, unless there is one that fits; see `start`."""
    server = _take(environment, modules)
    if server is None:
        with contextlib.suppress(OSError):  # a child will say what is wrong
            server = _Server(environment, modules)
    if server is not None:
        _give_back(server)


class _Server:
    """The server as its parent sees it; it has one child at a time."""

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str]) -> None:
        self.key = _key(environment, modules)
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                python_command("edgeopt.process.fork_server", str(theirs.fileno()), *modules),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                pass_fds=(theirs.fileno(),),
            )
        self._replies = self._socket.makefile("rb")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self, target: str, environment: Mapping[str, str], modules: Sequence[str]) -> WarmChild:
        place = {"environment": dict(environment), "folder": os.getcwd(), "path": module_path()}
        request = {"target": target, "modules": list(modules), **place}
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
        try:
            body = json.dumps(request).encode()
            socket.send_fds(self._socket, [len(body).to_bytes(_LENGTH, "big")], theirs)
            self._socket.sendall(body)
            pid = int(self._replies.readline())  # a ValueError if the server ended
        except (OSError, ValueError):
            for number in ours:
                os.close(number)
            raise
        finally:
            for number in theirs:
                os.close(number)
        streams = os.fdopen(ours[0], "wb"), os.fdopen(ours[1], "rb"), os.fdopen(ours[2], "rb")
        return WarmChild(self, pid, streams)

    def wait(self) -> int:
        try:
            code = int(self._replies.readline())
            self._socket.sendall(b"k")  # now its number may be used again
        except (OSError, ValueError):
            return 0
        return code

    def close(self) -> None:
        self._replies.close()
        self._socket.close()
        self._process.kill()
        self._process.wait()


_idle: list[_Server] = []
_lock = threading.Lock()


def _key(environment: Mapping[str, str], modules: Sequence[str]) -> Any:
    read = {name: value for name, value in environment.items() if name.startswith(_READ_AT_IMPORT)}
    read.pop("PYTHONPATH", None)  # a child is given its own module path
    return os.getpid(), modules[0], tuple(sorted(read.items()))


def _take(environment: Mapping[str, str], modules: Sequence[str]) -> _Server | None:
    """Return the idle server, if it is there and imported the first module; what else it lacks it imports then."""
    with _lock:
        server = _idle.pop() if _idle else None
    if server is None or (server.alive and server.key == _key(environment, modules)):
        return server
    if server.key[0] == os.getpid():  # a forked process leaves its parent's alone
        server.close()
    return None


def _give_back(server: _Server) -> None:
    with _lock:
        if server.alive and not _idle:
            _idle.append(server)
            return
    server.close()


def _close_all() -> None:
    while _idle:
        server = _idle.pop()
        if server.key[0] == os.getpid():
            server.close()


atexit.register(_close_all)


def serve(channel: socket.socket, modules: Sequence[str], run: Callable[[str], int]) -> None:
    """Import `modules`, then fork a child for each request that comes over `channel` (the server's side)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the child and the parent
    _import(modules)
    with channel:
        while select.select([channel], [], [], IDLE_S)[0]:
            length, descriptors, _, _ = socket.recv_fds(channel, _LENGTH, 3)
            if not length:
                return
            request = json.loads(channel.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
            _import([name for name in request["modules"] if name not in sys.modules])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of forking with threads: NumPy's, which expect it
                pid = os.fork()
            if pid == 0:
                channel.close()
                _serve_as_child(request, descriptors, run)
            for number in descriptors:
                os.close(number)
            channel.sendall(b"%d\n" % pid)
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            died = ended is not None and ended.si_code != os.CLD_EXITED
            channel.sendall(b"%d\n" % (0 if ended is None else -ended.si_status if died else ended.si_status))
            channel.recv(1)
            os.waitpid(pid, 0)


def _import(modules: Sequence[str]) -> None:
    """Import what every child from now on has; what cannot be is left to the child."""
    if not modules:
        return
    gc.disable()  # it would look at half a million lasting objects again and again: a tenth of the time
    with _without(_SPARED if _KERAS in modules else (*_SPARED, _KERAS_INSIDE)):
        for name in modules:
            with contextlib.suppress(Exception):  # the child will say what is wrong
                importlib.import_module(name)
    gc.enable()
    gc.freeze()  # a child that collects would copy all of the memory


@contextlib.contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Let an import of these fail, as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _serve_as_child(request: Mapping[str, Any], descriptors: Sequence[int], run: Callable[[str], int]) -> NoReturn:
    code = 1
    try:
        _become(request, descriptors)
        code = run(request["target"])
        sys.stdout.flush()
    finally:
        os._exit(code)


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Make the fork a process of its own, as if it had been started with the request's environment."""
    for place, number in enumerate(descriptors):
        os.dup2(number, place)
        os.close(number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # to be taken from the environment again
    sys.path[:] = request["path"]
    os.chdir(request["folder"])
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed()  # not the numbers that every other child draws


def main(arguments: Sequence[str]) -> None:
    """Serve the socket of this number, with these modules (the server's process; see `edgeopt.process.clean`)."""
    from .child import serve_one

    serve(socket.socket(fileno=int(arguments[0])), arguments[1:], serve_one)
