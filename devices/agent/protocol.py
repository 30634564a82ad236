"""The wire protocol between a host and an agent, and between an agent and its worker.

One job is one process: the host starts the agent, writes one line (the request) to its stdin, and keeps stdin open.
The agent answers with one line on stdout (the reply) and ends. All lines are JSON in UTF-8.

* request ``{"protocol": 2, "nonce": str, "op": str, ...}``; the operations are listed in `OPERATIONS`.
* reply ``{"nonce": str, "ok": true, "result": {...}}`` or ``{"nonce": str, "ok": false, "error": {"kind": str,
  "message": str, ...}}``. The nonce tells it from login banners and ``.bashrc`` noise; a newline goes before it, so
  that noise without one does no harm.
* the data of "measure" are .npy files by input (``inputs``) of real values; those that ``stored`` names, with a
  `records.Quantised` each, are what the input stores: a quarter of the bytes, quantised by the same `arith.quantize`.
* progress, on stderr: ``{"nonce": str, "progress": str, "done": int, "total": int | null}``. Every other line on
  stderr is log text.
* end of stdin means that the host is gone: the agent kills its worker and ends.

`PROTOCOL_VERSION` rises when a request or a reply changes its meaning; an agent refuses every version but its own.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, Optional, Tuple

from .outside import loads

Message = Dict[str, Any]

PROTOCOL_VERSION = 2

# operation -> what it does
OPERATIONS = {
    "info": "tell what the board is: CPU, memory, Python, runtimes",
    "measure": "time a model (bench), run data through it (evaluate), or both, in one interpreter set-up",
    "pipeline": "time models that hand their results on, each in a process of its own, in turns with the whole",
}

# Field of a request -> its type; null is a field that is not there.
FIELDS: Dict[str, Tuple[type, ...]] = {
    **dict.fromkeys(("workdir", "name", "model", "model_sha256", "against", "against_sha256"), (str,)),
    **dict.fromkeys(("runtime", "kernels", "delegate"), (str,)),
    **dict.fromkeys(("keep", "op_profile", "evaluate", "quiet"), (bool,)),
    **dict.fromkeys(("threads", "against_threads", "minimum_runtime", "queue"), (int,)),
    **dict.fromkeys(("bench", "inputs", "whole"), (dict,)),
    "segments": (list,),
    "wait_s": (int, float),
}
NEEDED: Dict[str, Tuple[str, ...]] = {
    "info": (),
    "measure": ("workdir", "model"),
    "pipeline": ("workdir", "segments", "bench"),
}
SEGMENT_NEEDED = ("name", "model")
MOST_THREADS = 1024
MOST_SEGMENTS, MOST_QUEUED = 64, 64

# What an error reply may carry as "kind". `edgeopt.devices.runner` maps each to one exception class.
ERROR_KINDS = (
    "protocol",  # another protocol version, or a line that is no request
    "request",  # an unknown operation or field
    "busy",  # another job holds the device
    "storage",  # the work folder cannot be written, or the disk is full
    "data",  # input arrays of the wrong name, shape or type
    "file",  # the file is not a model, or not the one that was announced
    "unsupported",  # the runtime does not know one of the model's operators
    "invoke",  # the model loads, and then fails when it is run
    "runtime_missing",  # no runtime that can be imported
    "delegate",  # the delegate that was asked for cannot be loaded
    "memory",  # out of memory, reported by Python
    "crashed",  # the worker was killed by a signal; "signal" names it
    "internal",  # anything else; "traceback" tells
)


class AgentError(Exception):
    """An error that travels to the host as data: `kind` is one of `ERROR_KINDS`."""

    def __init__(self, kind: str, message: str, **details: Any) -> None:
        super().__init__(message)
        if kind not in ERROR_KINDS:
            raise ValueError("unknown error kind %r" % (kind,))
        self.kind = kind
        self.message = message
        self.details = details

    def as_data(self) -> Message:
        """Return the ``error`` object of a reply."""
        return dict(self.details, kind=self.kind, message=self.message)


def encode(message: Mapping[str, object]) -> bytes:
    """Return `message` (a dict) as one line of bytes, newline included. NaN and infinity are refused."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("utf-8") + b"\n"


def decode(line: bytes) -> Optional[Message]:
    """Return the JSON object in one line of bytes, or None when the line holds something else."""
    try:
        message = loads(line.decode("utf-8"))
    except ValueError:  # UnicodeDecodeError is one, too
        return None
    return message if isinstance(message, dict) else None


def reply(nonce: str, result: Mapping[str, object]) -> bytes:
    """Return the bytes of a reply that carries `result`."""
    return b"\n" + encode({"nonce": nonce, "ok": True, "result": result})


def failure(nonce: str, error: AgentError) -> bytes:
    """Return the bytes of a reply that carries an `AgentError`."""
    return b"\n" + encode({"nonce": nonce, "ok": False, "error": error.as_data()})


def parse_request(line: bytes) -> Message:
    """Return the request in one line of bytes.

    Raises:
        AgentError: The line is no request, is of another protocol version, or names no known operation.
    """
    request = decode(line)
    if request is None or not isinstance(request.get("nonce"), str):
        raise AgentError("protocol", "the first line on stdin is not a request (a JSON object with a nonce)")
    version = request.get("protocol")
    if version != PROTOCOL_VERSION:
        message = "the host speaks protocol %r, but this agent speaks %d; use the agent of the same edgeopt release"
        raise AgentError("protocol", message % (version, PROTOCOL_VERSION))
    if not isinstance(request.get("op"), str) or request["op"] not in OPERATIONS:
        message = "unknown operation %r; expected one of %s"
        raise AgentError("request", message % (request.get("op"), ", ".join(sorted(OPERATIONS))))
    _check_fields(request)
    return request


def _check_fields(request: Message) -> None:
    """Raise unless the fields of a request are of their types.

    Raises:
        AgentError: One is not, or is missing.
    """
    _check_types(request, NEEDED[request["op"]])
    _check_texts(request)
    segments = request.get("segments") or []
    for segment in segments + ([request["whole"]] if request.get("whole") else []):
        if not isinstance(segment, dict):
            raise AgentError("request", "a part of the pipeline is %r; expected an object" % (segment,))
        _check_types(segment, SEGMENT_NEEDED)
        _check_texts(segment)
    if request["op"] == "pipeline" and not 2 <= len(segments) <= MOST_SEGMENTS:
        raise AgentError("request", "the pipeline has %d parts; expected 2 to %d" % (len(segments), MOST_SEGMENTS))
    if request.get("queue") is not None and not 1 <= request["queue"] <= MOST_QUEUED:
        raise AgentError("request", "the field 'queue' is %d; expected 1 to %d" % (request["queue"], MOST_QUEUED))


def _check_types(request: Message, needed: Tuple[str, ...]) -> None:
    for name in needed:
        if request.get(name) is None:
            raise AgentError("request", "the request lacks the field %r" % name)
    for name, kinds in FIELDS.items():
        value = request.get(name)
        flag = isinstance(value, bool) and bool not in kinds
        if value is not None and (flag or not isinstance(value, kinds)):
            found, expected = type(value).__name__, " or ".join(kind.__name__ for kind in kinds)
            raise AgentError("request", "the field %r is of the type %s; expected %s" % (name, found, expected))
    for name in ("threads", "against_threads"):
        threads = request.get(name)
        if threads is not None and not 1 <= threads <= MOST_THREADS:
            raise AgentError("request", "the field %r is %d; expected 1 to %d" % (name, threads, MOST_THREADS))


def _check_texts(request: Message) -> None:
    texts = {name: request.get(name) or "" for name, kinds in FIELDS.items() if kinds == (str,)}
    for name, text in dict(request.get("inputs") or {}, **texts).items():
        if not isinstance(text, str) or "\0" in text:
            raise AgentError("request", "%r is %r; expected text, without a null byte" % (name, text))
