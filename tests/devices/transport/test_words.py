"""What a board says: bounded, and without what could steer a terminal, wherever it ends up."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
import threading
import tracemalloc

import pytest

from edgeopt.cli.main import main
from edgeopt.devices import DeviceGone, FakeTransport, LocalTransport, Timeouts
from edgeopt.devices.agent.protocol import AgentError, decode
from edgeopt.devices.runner import Job
from edgeopt.devices.transport import words
from edgeopt.devices.transport.base import PipedProcess
from edgeopt.devices.transport.remote import ask_python, run_program
from edgeopt.devices.transport.ssh_scripts import Conversation
from edgeopt.devices.transport.words import LONGEST_TEXT, clean, clean_values, lines
from edgeopt.errors import DeviceError, DeviceLostError, EdgeoptError

NASTY = "\x1b[2J\x1b]0;owned\x07red \x1b[31mtext\x9b1m\u202e\nnext\tline\x00\r"
TAMED = "red text\ufffd next line\ufffd"
QUICK = Timeouts(silence_s=20, job_s=40, exit_s=5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NASTY, TAMED),
        ("plain, ünï and 'quoted'", "plain, ünï and 'quoted'"),
        ("\x1b", ""),
        ("a\x1b(Bb\x1bMc", "abc"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("x\x1b]never ends", "x"),
        ("\x1bP1$r0m\x1b\\dcs", "dcs"),
        ("", ""),
    ],
)
def test_text_is_cleaned(text, expected):
    assert clean(text) == expected


def test_text_is_bounded():
    assert clean("x" * 10**6) == "x" * LONGEST_TEXT + "..."
    assert clean(" " * 10**6) == "..."
    assert clean("x" * LONGEST_TEXT) == "x" * LONGEST_TEXT


def test_values_are_cleaned_in_depth():
    assert clean_values({"a\x07": [1, None, {"b": NASTY}], "c": "y" * 10**5}) == {
        "a\ufffd": [1, None, {"b": TAMED}], "c": "y" * 10**5
    }  # fmt: skip


def test_a_line_that_is_too_long_is_cut_and_the_next_one_is_whole(monkeypatch):
    monkeypatch.setattr(words, "LONGEST_LINE", 1000)
    text = b"a\n" + b"x" * 5000 + b"\nreply\n" + b"y" * 999 + b"\n" + b"z" * 2000
    assert list(lines(io.BytesIO(text))) == [b"a\n", b"x" * 500, b"reply\n", b"y" * 999 + b"\n", b"z" * 500]


FLOOD = "import os\nblock = b'x' * (1 << 20)\nfor _ in range({mib}): os.write({stream}, block)\n"


@pytest.mark.parametrize("stream", [1, 2])
def test_a_flood_without_a_newline_takes_no_memory(tmp_path, stream):
    """In a process of its own, whose memory is its own."""
    (tmp_path / "agent.py").write_text(FLOOD.format(mib=600, stream=stream))
    code = f"""
        from pathlib import Path
        from edgeopt.devices import LocalTransport
        from edgeopt.devices.runner import Job
        from edgeopt.errors import DeviceLostError
        transport = LocalTransport(workdir=Path({str(tmp_path / "work")!r}))
        try:
            with Job(transport, {str(tmp_path / "agent.py")!r}, "info", {{}}) as job:
                job.result()
        except DeviceLostError as error:
            print(len(str(error)))
        status = Path("/proc/self/status").read_text()  # ru_maxrss is at least that of the process that started it
        print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    length, peak = map(int, done.stdout.split())
    assert length < 2000, done.stderr
    assert peak < 250  # MiB: NumPy, and a line of 16 MiB as bytes and as text


@pytest.mark.parametrize("stream", [1, 2])
def test_neither_does_a_programs(tmp_path, stream):
    (tmp_path / "flood.py").write_text(FLOOD.format(mib=200, stream=stream) + f"os.write({stream}, b'\\nlast words')\n")
    transport = LocalTransport(workdir=tmp_path / "work")
    done = run_program(transport, [sys.executable, str(tmp_path / "flood.py")], timeout_s=60)
    assert len(done.stdout) + len(done.stderr) < 4 * words.MOST_OUTPUT
    assert done.tail(1) == "last words"


def test_a_script_that_floods_is_lost_and_not_stored(tmp_path):
    process = PipedProcess([sys.executable, "-c", FLOOD.format(mib=100, stream=1)], name="board")
    tracemalloc.start()
    with (
        Conversation(process, "n", "board", timeout_s=60, on_timeout=process.kill) as talk,
        pytest.raises(DeviceLostError, match="was lost"),
    ):
        talk.answer()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 << 20  # the line is of 100 MiB


def test_the_agents_error_is_cleaned():
    def answer(request):
        raise AgentError("storage", NASTY * 1000, remedy="do " + NASTY)

    with pytest.raises(DeviceError) as caught, Job(FakeTransport(answer), "/a", "info", {}, timeouts=QUICK) as job:
        job.result()
    assert str(caught.value).isprintable() and str(caught.value).endswith(f"do {TAMED}.")
    assert len(str(caught.value)) < LONGEST_TEXT + 200


def test_last_words_are_cleaned():
    def answer(request):
        raise DeviceGone(NASTY + "x" * 10**6)

    with pytest.raises(DeviceLostError) as caught, Job(FakeTransport(answer), "/a", "info", {}, timeouts=QUICK) as job:
        job.result()
    assert str(caught.value).isprintable() and "red text" in str(caught.value) and len(str(caught.value)) < 2000


def test_facts_are_cleaned():
    with Job(FakeTransport(lambda _: {"board": {"model": NASTY}}), "/a", "info", {}, timeouts=QUICK) as job:
        assert job.result() == {"board": {"model": TAMED}}


@pytest.mark.parametrize("reply", ['"ok": true', '"ok": false', '"ok": false, "error": {"kind": "none of ours"}'])
def test_a_reply_that_is_none_is_a_lost_agent(tmp_path, reply):
    (tmp_path / "agent.py").write_text(
        "import json, sys\nnonce = json.loads(sys.stdin.readline())['nonce']\n"
        f"print('{{\"nonce\": \"' + nonce + '\", {reply}}}', flush=True)\n"
    )
    transport = LocalTransport(workdir=tmp_path / "work")
    with (
        Job(transport, str(tmp_path / "agent.py"), "info", {}, timeouts=QUICK) as job,
        pytest.raises(DeviceLostError, match="sent a reply that is none"),
    ):
        job.result()


def test_json_that_is_too_deep_is_no_message():
    assert decode(b"[" * 10**6) is None


def test_what_a_script_and_a_python_say_is_cleaned(tmp_path):
    transport = LocalTransport(workdir=tmp_path / "work", python=[sys.executable])
    assert ask_python(transport, "chr(27) + '[31mred' + chr(7)", "os", str, timeout_s=30) == "red\ufffd"
    with pytest.raises(DeviceError) as caught:
        ask_python(transport, "sys.exit(chr(27) + '[31mred' + chr(7))", "sys", str, timeout_s=30)
    assert str(caught.value).isprintable()
    said = "printf '\\nn error write \\033[31mred\\007\\n'; printf '\\033[2Jlast\\007' >&2"
    process = PipedProcess(["sh", "-c", said], name="board")
    with Conversation(process, "n", "board", timeout_s=30, on_timeout=process.kill) as talk:
        assert talk.answer() == ("error", "write red\ufffd")
        assert talk.words() == "last\ufffd"


def test_progress_that_nobody_reads_does_not_pile_up(tmp_path):
    (tmp_path / "agent.py").write_text(
        "import json, sys\nnonce = json.loads(sys.stdin.readline())['nonce']\n"
        "line = json.dumps({'nonce': nonce, 'progress': 'x'}) + '\\n'\n"
        'print(\'{"nonce": "\' + nonce + \'", "ok": true, "result": {}}\', flush=True)\n'
        "sys.stderr.write(line * 50000)\nsys.stderr.flush()\nsys.stdin.read()\n"
    )
    transport = LocalTransport(workdir=tmp_path / "work")
    with Job(transport, str(tmp_path / "agent.py"), "info", {}, timeouts=QUICK) as job:
        job.result()
        threading.Event().wait(1.0)
        assert job._events.qsize() <= 10_000


def test_the_command_line_prints_no_escapes_whoever_raised(monkeypatch, capsys):
    def fails(*_, **__):
        raise EdgeoptError("a \x1b[2J name")

    monkeypatch.setattr("edgeopt.devices.boards.inventory.Inventory.find", fails)
    assert main(["devices", "list"]) == 1
    assert capsys.readouterr().err == "edgeopt: a \ufffd[2J name\n"
