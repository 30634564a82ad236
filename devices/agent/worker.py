"""The worker: the process that imports NumPy and the runtime and invokes the model, so that only it can die of them.

Its parent (see `supervisor`) speaks to it as a host speaks to an agent: a request line, and a reply line. Before the
reply it writes ``{"stage": ...}`` lines, so that the parent can say what it was doing if it dies.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import signal
import sys
import time
import traceback
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

from .protocol import AgentError, Message, decode, encode, failure, reply
from .records import OpProfile
from .streams import STDIN, Progress, claim_stdout, read_line, watch, write_all

_PR_SET_PDEATHSIG = 1

Stage = Callable[[str], None]


def main() -> int:
    """Do one job; the process ends with it."""
    channel = claim_stdout()
    _die_with_parent()
    _die_first()
    request = decode(read_line(STDIN))
    if request is None:
        return 1
    watch(STDIN, lambda: os._exit(1))

    def stage(name: str) -> None:
        write_all(channel, encode({"stage": name}))

    write_all(channel, _answer(request, stage))
    return 0


def _answer(request: Message, stage: Stage) -> bytes:
    nonce = request["nonce"]
    report = Progress(nonce, time.monotonic_ns, quiet=request.get("quiet", False))
    try:
        return reply(nonce, _JOBS[request["op"]](request, stage, report))
    except AgentError as error:
        return failure(nonce, error)
    except MemoryError:
        return failure(nonce, AgentError("memory", "out of memory"))
    except OSError as error:
        kind = "storage" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES) else "internal"
        return failure(nonce, AgentError(kind, str(error), traceback=traceback.format_exc()))
    except Exception as error:
        message = "%s: %s" % (type(error).__name__, error)
        return failure(nonce, AgentError("internal", message, traceback=traceback.format_exc()))


def _probe(request: Message, stage: Stage, report: Progress) -> Dict[str, str]:
    """Import a runtime, and tell its version and NumPy's."""
    runtime = _runtime(request["runtime"], stage)
    import numpy as np

    if request.get("delegate"):
        stage("delegate")
        runtime.use_delegate(request["delegate"])
    return {"runtime": runtime.name, "version": runtime.version, "numpy": np.__version__}


def _measure(request: Message, stage: Stage, report: Progress) -> Dict[str, object]:
    """Time the model, run data through it, or both; the timing comes first, before all cores get warm."""
    runtime = _runtime(request["runtime"], stage)
    from .arrays import Samples, open_all, paths_in_order
    from .evaluate import evaluate
    from .session import Session

    path, threads, kernels = request["model"], request.get("threads") or 1, request.get("kernels", "default")
    _ready(runtime, request, stage)

    def opener(shapes: Dict[int, Sequence[int]]) -> Session:
        return Session(runtime, path, threads, kernels, shapes)

    session = opener({})
    other = None
    if request.get("against"):
        _verify(request["against"], request.get("against_sha256"))
        other = Session(runtime, request["against"], request.get("against_threads") or threads, kernels)
    samples: Optional[Samples] = None
    if request.get("inputs"):
        files = request["inputs"]
        if request.get("front"):
            from .ends import prepare_files

            files = prepare_files(request["front"], [item.name for item in session.inputs], files, request["folder"])
        paths = paths_in_order(session.inputs, files)
        samples = open_all(session.inputs, paths, request.get("stored"))
        native = samples.shapes(session.inputs, session.inputs[0].shape[0])
        if any(native[tensor.index] != tensor.shape for tensor in session.inputs):
            session = opener(native)
    stage("invoke")
    result: Dict[str, object] = {"kernel_profile": _kernel_profile(runtime, session, kernels)}
    result.update(model=_interface(session), machine=platform.machine(), **_edge_tpu(request))
    if request.get("bench") is not None:
        from .benchmark import bench

        result["latency"] = bench(session, samples, request["bench"], report, other, request.get("part", 0))
    if request.get("evaluate"):
        if samples is None:
            raise AgentError("request", "evaluation was asked for without data")
        result["evaluation"] = evaluate(session, opener, samples, request["folder"], report)
    return result


def _segment(request: Message, stage: Stage, report: Progress) -> Mapping[str, object]:
    """Be one part of a pipeline."""
    runtime = _runtime(request["runtime"], stage)
    from .segment import run_part
    from .session import Session

    threads, kernels = request.get("threads") or 1, request.get("kernels") or "default"
    _ready(runtime, request, stage)
    session = Session(runtime, request["model"], threads, kernels)
    stage("invoke")
    facts = {"kernel_profile": _kernel_profile(runtime, session, kernels), **_edge_tpu(request)}
    return run_part(session, request, facts)


def _pipeline(request: Message, stage: Stage, report: Progress) -> Mapping[str, object]:
    """Time a pipeline, whose parts are processes of their own; the whole that it is compared with runs here."""
    runtime = _runtime(request["runtime"], stage)
    from .pipeline import pipeline
    from .session import Session

    stage("load")
    whole: Message = request.get("whole") or {}
    kernels = request.get("kernels") or "default"

    def load(threads: int) -> Session:
        _ready(runtime, whole, stage)
        return Session(runtime, whole["model"], threads, kernels)

    session, result = pipeline(request, load if whole else None, lambda: stage("invoke"), report)
    if session is not None:
        facts = {"kernel_profile": _kernel_profile(runtime, session, kernels), "load_ns": session.load_ns}
        result["pipeline"]["whole"].update(facts, **_edge_tpu(whole))
    return result


def _ready(runtime: Any, request: Message, stage: Stage) -> None:
    """Check the model of a request, and load its delegate, if it has one."""
    stage("load")
    _verify(request["model"], request.get("model_sha256"))
    if request.get("delegate"):
        stage("delegate")
        runtime.use_delegate(request["delegate"], request.get("minimum_runtime"))
        stage("load")


def _edge_tpu(request: Message) -> Dict[str, object]:
    """Return what is known of the Edge TPU that a request asks for; nothing where it asks for none."""
    from .delegate import edge_tpu_facts, parse

    delegate = request.get("delegate")
    return {"edge_tpu": edge_tpu_facts(delegate)} if delegate and parse(delegate).is_edge_tpu else {}


def _op_profile(request: Message, stage: Stage, report: Progress) -> OpProfile:
    """Tell the time of each operator."""
    from .opprofile import profile

    stage("invoke")
    return profile(request["model"], request.get("threads", 1), request.get("kernels", "default"))


def _kernel_profile(runtime: Any, session: Any, kernels: str) -> Dict[str, object]:
    return {
        "runtime": runtime.name,
        "version": runtime.version,
        "delegate": session.delegate,
        "threads": session.threads,
        "kernels": kernels,
    }


def _interface(session: Any) -> Dict[str, object]:
    return {
        "inputs": [tensor.as_data() for tensor in session.inputs],
        "outputs": [tensor.as_data() for tensor in session.outputs],
        "stateful": session.stateful,
    }


def _runtime(name: str, stage: Stage) -> Any:
    stage("import")
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise AgentError("runtime_missing", "NumPy does not load: %s" % error) from error
    from .runtimes import Runtime

    return Runtime(name)


def _verify(path: str, expected: Any) -> None:
    """Check that the model is there, and is the one that was announced.

    Raises:
        AgentError: It is not.
    """
    try:
        with open(path, "rb") as stream:
            found = hashlib.sha256(stream.read()).hexdigest()
    except OSError as error:
        raise AgentError("file", "cannot read the model %s: %s" % (path, error.strerror)) from error
    if expected is not None and found != expected:
        message = "the model %s has the SHA-256 %s, but %s was announced; it was damaged on its way"
        raise AgentError("file", message % (path, found, expected))


def _die_with_parent() -> None:
    """Ask Linux for SIGKILL when the agent dies, in case the runtime holds Python's lock and starves the watchdog."""
    if sys.platform.startswith("linux"):
        try:
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        except (ImportError, OSError, AttributeError):  # a Python without ctypes: the watchdog remains
            pass


def _die_first() -> None:
    """Offer this process to the system's OOM killer, before the agent, which tells of it, and before the user's own."""
    try:
        with open("/proc/self/oom_score_adj", "w") as stream:
            stream.write("1000")
    except OSError:  # not Linux, or not allowed
        pass


_JOBS: Dict[str, Callable[[Message, Stage, Progress], Mapping[str, object]]] = {
    "probe": _probe,
    "measure": _measure,
    "op_profile": _op_profile,
    "pipeline": _pipeline,
    "segment": _segment,
}
