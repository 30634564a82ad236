"""`edgeopt.process.fork_server`: children forked from a process that has done the imports are as good as new processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from edgeopt.models.detect import Flavour
from edgeopt.process import fork_server, isolation
from edgeopt.process.isolation import TENSORFLOW, ChildCrash, run_isolated

from ..processes import alive, wait_until

TARGETS = """
import os, random, sys, time

def facts(request, emit):
    import importlib, numpy
    return {
        "pid": os.getpid(), "server": os.getppid(), "folder": os.getcwd(), "imported": request["module"] in sys.modules,
        "then": importlib.import_module(request.get("import", "os")).__name__,
        "variable": os.environ.get("EDGEOPT_TEST_VARIABLE"), "found": __file__,
        "random": [random.random(), float(numpy.random.rand())],
    }

def spoil(request, emit):
    sys.modules["spoiled"] = sys
    os.environ["EDGEOPT_TEST_VARIABLE"] = "spoiled"
    os.chdir("/")
    return None

def parent(request, emit):
    return os.getppid()

def die(request, emit):
    os.kill(os.getpid(), 9)

def kill_server(request, emit):
    os.kill(os.getppid(), 9)
    return "still here"

def sleep(request, emit):
    emit({"pid": os.getpid(), "server": os.getppid()})
    time.sleep(60)
"""
MODULES = ["wsgiref.validate", "no_such_module_at_all"]


@pytest.fixture(scope="module", autouse=True)
def targets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("targets")
    (folder / "warm_targets.py").write_text(TARGETS)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def facts(module="wsgiref.validate", modules=MODULES):
    return run_isolated("warm_targets:facts", {"module": module}, modules=modules)


def gone(pid):
    return wait_until(lambda: not alive(pid))


def test_children_come_from_one_server_that_has_done_the_imports():
    first, second = facts(), facts()
    assert first["server"] == second["server"] != os.getpid()
    assert first["pid"] != second["pid"]
    assert first["imported"] and second["imported"]
    assert not facts(modules=[])["imported"]  # planted: a new process has it not


@pytest.mark.heavy
def test_what_keras_takes_along_and_no_child_uses_is_not_imported_but_can_be():
    request = {"module": "pandas", "import": "pandas"}
    seen = run_isolated("warm_targets:facts", request, modules=TENSORFLOW)
    assert (seen["imported"], seen["then"]) == (False, "pandas")
    assert run_isolated("warm_targets:facts", {"module": "keras"}, modules=TENSORFLOW)["imported"]


@pytest.mark.heavy
def test_keras_3_is_not_imported_for_a_keras_2_model_but_can_be(monkeypatch):
    monkeypatch.setenv("TF_EDGEOPT_TEST", "a server that no other test has asked for")
    request = {"module": "keras", "import": "tensorflow.keras.layers"}
    seen = run_isolated("warm_targets:facts", request, modules=Flavour.TF_KERAS.modules)
    assert (seen["imported"], seen["then"]) == (False, "tensorflow.keras.layers")
    later = run_isolated("warm_targets:facts", {"module": "keras"}, modules=TENSORFLOW)
    assert later["imported"] and later["server"] == seen["server"]  # which has imported it since


def test_a_child_has_the_folder_environment_and_module_path_of_now(tmp_path, monkeypatch):
    server = facts()["server"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEOPT_TEST_VARIABLE", "new")
    (tmp_path / "warm_targets.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = facts()
    assert found["server"] == server
    assert found["folder"] == str(tmp_path) and found["variable"] == "new"
    assert found["found"] == str(tmp_path / "warm_targets.py")


def test_what_a_child_does_to_itself_is_gone_with_it():
    before = facts()
    run_isolated("warm_targets:spoil", {}, modules=MODULES)
    after = facts("spoiled")
    assert not after["imported"]
    assert (after["server"], after["folder"], after["variable"]) == (before["server"], before["folder"], None)


def test_children_draw_other_random_numbers():
    one, other = facts()["random"], facts()["random"]
    assert one[0] != other[0] and one[1] != other[1]


def test_a_server_that_was_warmed_up_serves_the_next_child():
    fork_server._close_all()
    isolation.warm_up(MODULES)
    (server,) = fork_server._idle
    assert facts()["server"] == server._process.pid


def test_what_tfmot_leaves_in_the_environment_asks_for_no_new_server(monkeypatch):
    server = facts()["server"]
    monkeypatch.setitem(sys.modules, "tensorflow_model_optimization", None)
    monkeypatch.setattr(isolation, "_LEFT_BY_TFMOT", ("TF_USE_LEGACY_KERAS",))
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    assert facts()["server"] == server


def test_a_variable_that_is_read_at_import_asks_for_a_new_server(monkeypatch):
    old = facts()["server"]
    monkeypatch.setenv("TF_ENABLE_SOMETHING", "1")
    assert facts()["server"] != old
    assert gone(old)


def test_the_server_outlives_a_child_that_dies():
    server = facts()["server"]
    with pytest.raises(ChildCrash, match="SIGKILL"):
        run_isolated("warm_targets:die", {}, modules=MODULES)
    assert facts()["server"] == server


def test_a_server_that_died_is_replaced():
    server = facts()["server"]
    assert run_isolated("warm_targets:kill_server", {}, modules=MODULES) == "still here"
    assert gone(server)
    found = facts()
    assert found["server"] != server and found["imported"]
    os.kill(found["server"], signal.SIGKILL)  # between two requests
    assert gone(found["server"])
    assert facts()["imported"]


def test_where_no_server_can_serve_the_child_is_a_new_process(tmp_path, monkeypatch):
    """In a folder that is no more, for one: no child could be sent there."""
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    assert run_isolated("warm_targets:parent", {}, modules=MODULES) == os.getpid()


def test_two_threads_have_a_server_each():
    found = []
    threads = [threading.Thread(target=lambda: found.append(facts())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({item["pid"] for item in found}) == 2 and all(item["imported"] for item in found)


def test_a_server_ends_when_nothing_is_asked_of_it(tmp_path):
    """The server's own loop, with a shorter patience."""
    code = textwrap.dedent("""
        import socket
        from edgeopt.process import fork_server
        fork_server.IDLE_S = 0.2
        ours, theirs = socket.socketpair()
        fork_server.serve(theirs, [], len)
        print(ours.recv(1))  # the end of the stream: nothing was asked, nothing was answered
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "b''\n"), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_server_outlives_its_parent(targets, number):
    code = textwrap.dedent(f"""
        import sys; sys.path.insert(0, {str(targets)!r})
        from edgeopt.process.isolation import run_isolated
        say = lambda event: print(event["pid"], event["server"], flush=True)
        run_isolated("warm_targets:sleep", {{}}, say, modules={MODULES})
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert all(alive(pid) for pid in pids)
    time.sleep(0.5)  # a signal to a process on its way into a read, in which it then waits, is not seen in time
    parent.send_signal(number)
    assert parent.wait(10) != 0
    parent.stdout.close()
    assert all(gone(pid) for pid in pids)


def test_a_program_that_ends_takes_its_idle_server_with_it(targets):
    code = textwrap.dedent(f"""
        import sys; sys.path.insert(0, {str(targets)!r})
        from edgeopt.process.isolation import run_isolated
        print(run_isolated("warm_targets:facts", {{"module": "re"}}, modules={MODULES})["server"])
    """)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""
    with contextlib.suppress(ProcessLookupError):
        assert gone(int(done.stdout))
