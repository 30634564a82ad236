"""The agent as a host runs it: one request, one reply, and gone when the host is."""

from __future__ import annotations

import os
import shutil
import threading
import time
import traceback
from typing import Optional

from .conditions import board, state
from .hardware import edge_tpu
from .processes import measure, pipeline
from .protocol import PROTOCOL_VERSION, AgentError, Message, decode, failure, parse_request, reply
from .records import Info
from .streams import STDIN, Progress, claim_stdout, read_line, watch, write_all
from .supervisor import Supervisor
from .workfolder import WorkFolder

FETCH_S = 3600  # how long a host may take to fetch the outputs
GRACE_S = 10  # how long an abandoned job may take to clean up


class _Host:
    """The host, as far as the agent can tell: there, or gone."""

    def __init__(self) -> None:
        self._gone = threading.Event()
        self.supervisor: Optional[Supervisor] = None

    def leave(self) -> None:
        """Called by the watchdog: end the job; end the process, should the job not end by itself."""
        self._gone.set()
        if self.supervisor is not None:
            self.supervisor.stop()
        self._force_exit()

    @staticmethod
    def _force_exit() -> None:
        time.sleep(GRACE_S)
        os._exit(1)

    def gone(self) -> bool:
        """Whether stdin has ended."""
        return self._gone.is_set()

    def wait(self) -> None:
        """Return when the host has closed stdin, which says that it has fetched all that it wants."""
        self._gone.wait(FETCH_S)


def serve(detached: bool) -> int:
    """Answer the one request on stdin.

    Args:
        detached: Do not end when stdin does: for a request that is piped in by hand. The run's folder then stays.

    Returns:
        The exit status: 0 when a reply was written, whatever it says.
    """
    channel = claim_stdout()
    line = read_line(STDIN)
    nonce = str((decode(line) or {}).get("nonce", ""))
    host = _Host()
    if not detached:
        watch(STDIN, host.leave)
    try:
        request = parse_request(line)
        if request["op"] == "info":
            write_all(channel, reply(nonce, _info(request)))
        else:
            _measure(request, channel, host, detached)
    except AgentError as error:
        write_all(channel, failure(nonce, error))
    except Exception as error:
        message = "%s: %s" % (type(error).__name__, error)
        write_all(channel, failure(nonce, AgentError("internal", message, traceback=traceback.format_exc())))
    return 0


def _info(request: Message) -> Info:
    return {
        "protocol": PROTOCOL_VERSION,
        "board": board(),
        "state": state(),
        "runtimes": Supervisor().probe(request["nonce"], request.get("delegate")),
        "edge_tpu": edge_tpu(),
        "disk_free_bytes": _free_bytes(request.get("workdir") or "/"),
        "time_s": time.time(),
    }


def _free_bytes(folder: str) -> Optional[int]:
    """Return the free space where `folder` is, or is to be."""
    while not os.path.exists(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _measure(request: Message, channel: int, host: _Host, detached: bool) -> None:
    """Run the job in a folder of its own, and keep that, and the lock, until the host has fetched the outputs."""
    report = Progress(request["nonce"], time.monotonic_ns)
    folder = WorkFolder(request["workdir"])
    wait_s = request.get("wait_s")
    folder.acquire(60 if wait_s is None else wait_s, report, host.gone)
    run = folder.open_run(request["nonce"])
    try:
        host.supervisor = Supervisor(inherit=[folder.lock])
        if host.gone():
            return
        job = pipeline if request["op"] == "pipeline" else measure
        result = job(host.supervisor, dict(request, folder=run))
        write_all(channel, reply(request["nonce"], result))
        if not detached:
            host.wait()
    finally:
        if not detached and not request.get("keep"):
            folder.close_run(run)
