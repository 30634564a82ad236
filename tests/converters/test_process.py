"""Running an external program: time, output, signals, and what it leaves behind."""

from __future__ import annotations

import sys

import pytest

from edgeopt.converters.process import MAX_OUTPUT_BYTES, run
from edgeopt.errors import CompilerError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_both_streams_and_the_status_come_back(tmp_path):
    done = run(
        python("import sys; print('out'); sys.stdout.flush(); print('err', file=sys.stderr); sys.exit(3)"), tmp_path, 30
    )
    assert (done.returncode, done.output, done.timed_out, done.signal_name) == (3, "out\nerr\n", False, "")


def test_it_runs_in_the_folder_with_the_environment_and_without_input(tmp_path):
    code = "import os, sys; print(os.getcwd(), os.environ['EDGEOPT_X'], repr(sys.stdin.read()))"
    done = run(python(code), tmp_path, 30, {"EDGEOPT_X": "1"})
    assert done.output.split() == [str(tmp_path), "1", "''"]


def test_a_signal_is_named(tmp_path):
    assert run(python("import os; os.kill(os.getpid(), 6)"), tmp_path, 30).signal_name == "SIGABRT"


def test_a_time_limit_is_not_called_a_signal(tmp_path):
    done = run(python("import time; time.sleep(60)"), tmp_path, 0.2)
    assert (done.timed_out, done.signal_name) == (True, "")


def test_output_is_cut(tmp_path):
    done = run(python(f"print('x' * {2 * MAX_OUTPUT_BYTES})"), tmp_path, 60)
    assert len(done.output) == MAX_OUTPUT_BYTES
    assert len(done.last_line) == 200


def test_the_last_line_is_printable(tmp_path):
    assert run(python("print('a\\x1b[31mb')"), tmp_path, 30).last_line == "a\ufffd[31mb"
    assert run(python("pass"), tmp_path, 30).last_line == ""


def test_a_program_that_cannot_start(tmp_path):
    with pytest.raises(CompilerError, match=r"/nowhere cannot be started \(No such file or directory\)"):
        run(["/nowhere"], tmp_path, 1)
