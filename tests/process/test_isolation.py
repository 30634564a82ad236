"""`edgeopt.process.isolation`: a function in a child process, whose end is never the parent's."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from edgeopt import errors
from edgeopt.process import isolation
from edgeopt.process.isolation import ChildCrash, ChildTraceback

from ..processes import alive, wait_until

TARGETS = """
import ctypes, os, signal, sys, time
from edgeopt.errors import DataError

def double(request, emit):
    emit({"stage": "one"})
    print("noise on stdout")
    os.system("echo more noise")
    emit({"stage": "two"})
    return {"doubled": request["value"] * 2, "pid": os.getpid()}

def refuse(request, emit):
    raise DataError("Received 3, expected 4.")

def fail(request, emit):
    raise KeyError("boom")

def segfault(request, emit):
    emit({"stage": "calibrate"})
    ctypes.string_at(0)

def killed(request, emit):
    os.kill(os.getpid(), signal.SIGKILL)

def leave(request, emit):
    print("last words", file=sys.stderr, flush=True)
    os._exit(3)

def sleep(request, emit):
    emit({"pid": os.getpid()})
    time.sleep(60)

def environment(request, emit):
    return {name: os.environ.get(name) for name in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL")}
"""


@pytest.fixture(scope="module", autouse=True)
def targets(tmp_path_factory):
    """A module that the parent can import, and that lies nowhere near the working folder."""
    folder = tmp_path_factory.mktemp("targets")
    (folder / "isolation_targets.py").write_text(TARGETS)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(params=["new", "forked"])
def run_isolated(request):
    """A child that is a new process, and one that is forked from a process which has imported a module."""
    modules = ["decimal"] if request.param == "forked" else []
    return functools.partial(isolation.run_isolated, modules=modules)


@pytest.mark.smoke
def test_the_reply_and_the_events_come_back_past_any_noise(run_isolated, capfd):
    events = []
    reply = run_isolated("isolation_targets:double", {"value": 21}, events.append)
    assert reply["doubled"] == 42
    assert reply["pid"] != os.getpid()
    assert events == [{"stage": "one"}, {"stage": "two"}]
    assert capfd.readouterr() == ("", "")


def test_verbose_lets_the_child_speak_on_stderr(run_isolated, capfd, monkeypatch):
    monkeypatch.setenv("EDGEOPT_VERBOSE", "1")
    run_isolated("isolation_targets:double", {"value": 1})
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "noise on stdout" in captured.err


def test_our_errors_come_back_as_they_were(run_isolated):
    with pytest.raises(errors.DataError, match="^Received 3, expected 4.$") as caught:
        run_isolated("isolation_targets:refuse", {})
    assert isinstance(caught.value.__cause__, ChildTraceback)
    assert "in refuse" in str(caught.value.__cause__)


def test_other_errors_are_internal(run_isolated):
    with pytest.raises(errors.EdgeoptError, match="internal error in the child process: KeyError: 'boom'") as caught:
        run_isolated("isolation_targets:fail", {})
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(("function", "name"), [("segfault", "SIGSEGV"), ("killed", "SIGKILL")])
def test_a_death_by_signal_is_named(run_isolated, function, name):
    with pytest.raises(ChildCrash, match=name) as caught:
        run_isolated(f"isolation_targets:{function}", {})
    assert caught.value.signal_name == name
    assert caught.value.events == ([{"stage": "calibrate"}] if function == "segfault" else [])


def test_an_exit_without_reply_keeps_the_last_words(run_isolated):
    with pytest.raises(ChildCrash, match="ended without a reply") as caught:
        run_isolated("isolation_targets:leave", {})
    assert caught.value.signal_name == ""
    assert caught.value.tail.endswith("last words")


def test_an_error_in_the_parents_callback_ends_the_child(run_isolated):
    pids = []

    def on_event(event):
        pids.append(event["pid"])
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        run_isolated("isolation_targets:sleep", {}, on_event)
    assert not alive(pids[0])


@pytest.mark.parametrize("modules", [[], ["decimal"]], ids=["new", "forked"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_child_outlives_its_parent(targets, number, modules):
    """SIGKILL leaves the parent no chance: the child sees the end of its stdin."""
    code = textwrap.dedent(f"""
        import sys; sys.path.insert(0, {str(targets)!r})
        from edgeopt.process.isolation import run_isolated
        say = lambda event: print(event["pid"], flush=True)
        run_isolated("isolation_targets:sleep", {{}}, say, modules={modules})
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    pid = int(parent.stdout.readline())
    assert alive(pid)
    time.sleep(0.5)  # a signal to a process on its way into a read, in which it then waits, is not seen in time
    parent.send_signal(number)
    assert parent.wait(10) != 0
    parent.stdout.close()
    assert wait_until(lambda: not alive(pid))


def test_keras_runs_on_tensorflow_whatever_the_user_set(run_isolated, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert run_isolated("isolation_targets:environment", {}) == {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
