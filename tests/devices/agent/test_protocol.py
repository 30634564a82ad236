"""Lines on the wire."""

from __future__ import annotations

import json
from typing import Any

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


@pytest.mark.parametrize(
    "inside", ["[" * 100_000, "[" * 90 + "]" * 90, '{"a":' * 300 + "1" + "}" * 300, "1e999", "NaN"]
)
def test_what_nests_or_counts_without_end_decodes_to_nothing(inside: str) -> None:
    assert decode(f'{{"a": {inside}}}'.encode()) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"op": []}, r"unknown operation \[\]"),
        ({"op": "measure", "model": "m"}, "lacks the field 'workdir'"),
        ({"op": "measure", "workdir": "w"}, "lacks the field 'model'"),
        ({"workdir": 3}, "'workdir' is of the type int; expected str"),
        ({"wait_s": True}, "'wait_s' is of the type bool; expected int or float"),
        ({"keep": 1}, "'keep' is of the type int; expected bool"),
        ({"threads": 0}, "'threads' is 0; expected 1 to 1024"),
        ({"bench": [1]}, "'bench' is of the type list; expected dict"),
        ({"inputs": {"x": 3}}, "'x' is 3; expected text"),
        ({"delegate": "a\0b"}, "expected text, without a null byte"),
    ],
)
def test_fields_of_another_type_are_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(AgentError, match=message) as caught:
        parse_request(request(**fields))
    assert caught.value.kind == "request"
