"""One conversation with an agent, as the host sees it: replies among noise, errors, and agents that go away."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeopt import errors
from edgeopt.devices import DeviceGone, FakeTransport, LocalTransport, Progress, Timeouts
from edgeopt.devices.agent.protocol import ERROR_KINDS, AgentError
from edgeopt.devices.runner import ERRORS, Job

# Long enough for a Python to start on a busy machine.
HURRY = Timeouts(silence_s=4, job_s=8, exit_s=2)


def ask(answer: Callable[[dict[str, Any]], dict[str, Any]], banner: bytes = b"") -> dict[str, Any]:
    with Job(FakeTransport(answer, banner=banner), "/fake/agent.pyz", "info", {}, timeouts=HURRY) as job:
        return job.result()


def fails(error: Exception) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def answer(_: dict[str, Any]) -> dict[str, Any]:
        raise error

    return answer


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Job]:
    """Return a function: a job whose agent is a Python script; `nonce` and `say(fields)` are there for it."""

    def make(body: str) -> Job:
        path = tmp_path / "agent.py"
        head = """
            import json, sys, time
            nonce = json.loads(sys.stdin.readline())["nonce"]
            def say(stream=sys.stdout, nonce=nonce, **fields):
                print(json.dumps(dict(fields, nonce=nonce)), file=stream, flush=True)
        """
        path.write_text(textwrap.dedent(head) + textwrap.dedent(body))
        return Job(LocalTransport(workdir=tmp_path / "work"), str(path), "info", {}, timeouts=HURRY)

    return make


def test_the_result_comes_back() -> None:
    assert ask(lambda request: {"op": request["op"], "workdir": request["workdir"]}) == {
        "op": "info",
        "workdir": "/fake",
    }


@pytest.mark.parametrize(
    "banner",
    [b"Last login: today\n", b"no newline at the end", b'{"ok": true, "result": {"forged": 1}}\n', b"\xff\xfe\x00\n"],
)
def test_noise_before_the_reply_does_no_harm(banner: bytes) -> None:
    assert ask(lambda _: {"a": 1}, banner) == {"a": 1}


def test_a_reply_to_another_run_is_no_reply(script: Callable[[str], Job]) -> None:
    with script("say(nonce='other', ok=True, result={'a': 1}); say(ok=True, result={'a': 2})") as job:
        assert job.result() == {"a": 2}


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_each_error_of_the_agent_becomes_its_class_with_a_remedy(kind: str) -> None:
    with pytest.raises(ERRORS[kind][0], match=r"^The fake device: it broke; .*\.$") as caught:
        ask(fails(AgentError(kind, "it broke")))
    assert type(caught.value) is ERRORS[kind][0]


def test_every_kind_is_mapped() -> None:
    assert set(ERRORS) == set(ERROR_KINDS)
    without = {kind for kind, (_, remedy) in ERRORS.items() if not remedy}
    assert without == {"runtime_missing"}, "its remedy depends on the device"


def test_a_missing_runtime_names_how_this_device_gets_one() -> None:
    transport = FakeTransport(fails(AgentError("runtime_missing", "no TFLite runtime")))
    remedy = 'pip install "edgeopt[tflite-runtime]"'
    with (
        Job(transport, "/a", "info", {}, runtime_remedy=remedy) as job,
        pytest.raises(errors.RuntimeMissingError, match=r"pip install \"edgeopt\[tflite-runtime\]\""),
    ):
        job.result()


def test_an_agent_that_ends_without_a_reply_is_lost_and_its_last_words_are_told() -> None:
    with pytest.raises(
        errors.DeviceLostError, match=r"ended with status 0 before it answered.*Its last words were: oom"
    ):
        ask(fails(DeviceGone("oom")))


def test_the_status_of_a_real_process_is_told(script: Callable[[str], Job]) -> None:
    job = script("print('Traceback: boom', file=sys.stderr); sys.exit(7)")
    with job, pytest.raises(errors.DeviceLostError, match=r"status 7.*Traceback: boom"):
        job.result()


def test_an_agent_that_cannot_start_python_is_lost(tmp_path: Path) -> None:
    transport = LocalTransport(workdir=tmp_path, python=[sys.executable])
    job = Job(transport, str(tmp_path / "missing.pyz"), "info", {}, timeouts=HURRY)
    with job, pytest.raises(errors.DeviceLostError, match="can't open file"):
        job.result()


def test_silence_is_not_waited_out_for_ever_and_the_agent_is_killed(script: Callable[[str], Job]) -> None:
    start = time.monotonic()
    job = script("print('thinking', file=sys.stderr, flush=True); time.sleep(600)")
    with job, pytest.raises(errors.DeviceLostError, match=r"no sign of life for 4 s.*thinking"):
        job.result()
    assert time.monotonic() - start < 30


def test_signs_of_life_keep_a_slow_job_going(script: Callable[[str], Job]) -> None:
    body = """
        for i in range(4):
            time.sleep(1.2)
            say(stream=sys.stderr, progress="bench", done=i, total=4)
        say(ok=True, result={})
    """
    events: list[Progress] = []
    job = script(body)
    job._on_progress = events.append
    with job:
        assert job.result() == {}
    # The last one may still be on its way, through a pipe of its own, when the reply comes.
    assert events[:3] == [Progress("bench", i, 4) for i in range(3)]


def test_but_not_beyond_the_time_for_the_whole_job(script: Callable[[str], Job]) -> None:
    body = "while True:\n    time.sleep(0.2)\n    say(stream=sys.stderr, progress='bench', done=0, total=None)"
    with script(body) as job, pytest.raises(errors.DeviceLostError, match="did not finish within 8 s"):
        job.result()


def test_leaving_by_an_exception_ends_the_agent(script: Callable[[str], Job], tmp_path: Path) -> None:
    body = f"sys.stdin.read(); open({str(tmp_path / 'ended')!r}, 'w').close()"
    with pytest.raises(KeyboardInterrupt), script(body):
        raise KeyboardInterrupt
    assert (tmp_path / "ended").exists(), "it saw the end of its stdin"


def test_a_job_is_used_in_a_with_block() -> None:
    with pytest.raises(RuntimeError, match="use it in a with block"):
        Job(FakeTransport(lambda _: {}), "/a", "info", {})._started()


@pytest.mark.parametrize(
    "reply",
    [
        '{"nonce": "%s", "ok": true, "result": ' + "[" * 100_000,
        '{"nonce": "%s", "ok": true, "result": ' + '{"a":' * 500 + "1" + "}" * 501,
        '{"nonce": "%s", "ok": true, "result": {"a": NaN}}',
    ],
)
def test_a_reply_that_cannot_be_walked_through_is_none_and_nobody_waits(script, reply: str) -> None:
    """The thread that reads died of the second one, and the job waited out its whole silence."""
    start = time.monotonic()
    with (
        script(f"print({reply!r} % nonce, flush=True)") as job,
        pytest.raises(errors.DeviceLostError, match="ended with"),
    ):
        job.result()
    assert time.monotonic() - start < HURRY.silence_s + HURRY.exit_s


@pytest.mark.parametrize("fields", ["ok=1, result={}", "ok=[], result={}", "ok=False, error={'kind': []}", "ok=True"])
def test_a_reply_with_odd_values_is_none(script, fields: str) -> None:
    with script(f"say({fields})") as job, pytest.raises(errors.DeviceLostError, match="sent a reply that is none"):
        job.result()


def test_signs_of_life_with_odd_values_are_noise(script) -> None:
    told: list[Progress] = []
    body = """
        say(sys.stderr, progress=[[]])
        say(sys.stderr, progress="bench", done="1")
        say(sys.stderr, progress="bench", total=0.5)
        say(sys.stderr, progress="bench", done=1)
        time.sleep(0.2)
        say(ok=True, result={})
    """
    with script(body) as job:
        job._on_progress = told.append
        assert job.result() == {}
    assert told == [Progress("bench", 1, None)]
