"""Lines on the wire."""

from __future__ import annotations

import json

import pytest

from edgeopt.devices.agent import worker
from edgeopt.devices.agent.protocol import (
    OPERATIONS,
    PROTOCOL_VERSION,
    AgentError,
    decode,
    encode,
    failure,
    parse_request,
    reply,
)


def request(**changes: object) -> bytes:
    return json.dumps({"protocol": PROTOCOL_VERSION, "nonce": "n", "op": "info", **changes}).encode()


def test_a_message_is_one_line_whatever_it_holds() -> None:
    line = encode({"text": "zwei\nZeilen, ümlaut"})
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode(line) == {"text": "zwei\nZeilen, ümlaut"}


def test_not_a_number_never_travels() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"value": float("nan")})


@pytest.mark.parametrize("line", [b"", b"Welcome to Raspbian!", b"[1]", b"3", b'"text"', b"\xff\xfe{}"])
def test_what_is_no_object_decodes_to_nothing(line: bytes) -> None:
    assert decode(line) is None


def test_a_reply_begins_on_a_line_of_its_own() -> None:
    assert reply("n", {"a": 1}).splitlines()[0] == b""
    assert decode(reply("n", {"a": 1})) == {"nonce": "n", "ok": True, "result": {"a": 1}}


def test_an_error_travels_as_data() -> None:
    error = AgentError("crashed", "it died", signal="SIGSEGV")
    assert decode(failure("n", error)) == {
        "nonce": "n",
        "ok": False,
        "error": {"kind": "crashed", "message": "it died", "signal": "SIGSEGV"},
    }


def test_error_kinds_are_a_closed_list() -> None:
    with pytest.raises(ValueError, match="unknown error kind 'oops'"):
        AgentError("oops", "?")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"hello", "is not a request"),
        (request(nonce=None), "is not a request"),
        (request(protocol=PROTOCOL_VERSION + 1), "speaks protocol 3, but this agent speaks 2"),
        (request(protocol=1), "speaks protocol 1, but this agent speaks 2"),  # its int8 data were real values
        (request(op="format-disk"), "unknown operation 'format-disk'; expected one of"),
    ],
)
def test_requests_that_are_none(line: bytes, message: str) -> None:
    with pytest.raises(AgentError, match=message):
        parse_request(line)


def test_a_request_comes_through() -> None:
    assert parse_request(request(extra=[1, 2]))["extra"] == [1, 2]


def test_an_agent_can_do_each_operation_that_it_lists() -> None:
    assert set(OPERATIONS) - {"info"} <= set(worker._JOBS), "the agent itself answers info, its worker all others"
