"""The ``edgeopt`` command: verbs, exit codes, and what an error looks like."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from edgeopt import __version__, errors
from edgeopt.cli import main as run_main
from edgeopt.cli.main import VERBS, _flags_first


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """Make ``edgeopt convert`` raise what it is given."""
    from edgeopt.cli import convert

    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.keras").write_bytes(b"")

    def arrange(error):
        def fail(*_arguments, **_options):
            raise error

        monkeypatch.setattr("edgeopt.api.convert.convert", fail)
        monkeypatch.setattr(convert, "_check_outputs", lambda *_: "x.json")
        return ["convert", "m.keras", "-o", "x.tflite"]

    return arrange


def test_help_lists_every_verb(capsys):
    assert run_main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)


def test_help_takes_a_tenth_of_a_second_of_which_click_has_nearly_all():
    code = """
import sys, click
before = set(sys.modules)
from edgeopt.cli import run
try:
    run(["--help"])
finally:
    print(*(set(sys.modules) - before), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    imported = set(done.stderr.split())
    ours = {name for name in imported if name.startswith("edgeopt")}
    assert ours == {"edgeopt", "edgeopt._version", "edgeopt.cli", "edgeopt.cli.main", "edgeopt.errors"}
    # What wraps the text, and what NumPy, rich or tempfile would bring is not there.
    assert len(imported - ours) < 14, imported - ours


def test_no_arguments_show_the_help(capsys):
    assert run_main([]) == 0
    assert "convert" in capsys.readouterr().err


def test_the_version(capsys):
    assert run_main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["unknown"], ["convert"], ["convert", "m", "-o", "x", "--no-such-option"]])
def test_bad_usage_is_exit_code_2(capsys, arguments):
    assert run_main(arguments) == 2
    assert "Error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DataError("Bad data."), 2),
        (errors.ConversionError("Refused."), 3),
        (errors.BudgetError("Missed."), 4),
        (errors.RuntimeMissingError("None there."), 5),
        (errors.CompilerError("Not found."), 6),
    ],
)
def test_each_branch_of_the_errors_has_its_exit_code_and_one_line(failing, capsys, error, code):
    assert run_main(failing(error)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"edgeopt: {error}\n"


def test_anything_else_is_internal_and_says_how_to_see_more(failing, capsys):
    assert run_main(failing(KeyError("lost"))) == 1
    assert "internal error: KeyError: 'lost'; run again with --debug" in capsys.readouterr().err


def test_debug_shows_the_traceback_wherever_it_stands(failing, capsys):
    arguments = failing(errors.DataError("Bad data."))
    assert run_main([*arguments, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_130(failing, capsys):
    assert run_main(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "\nInterrupted; nothing was left half-written.\n"


def test_verbose_may_stand_anywhere(failing, monkeypatch):
    monkeypatch.setenv("EDGEOPT_VERBOSE", "0")
    run_main([*failing(errors.DataError("Bad data.")), "-v"])
    assert os.environ["EDGEOPT_VERBOSE"] == "1"


def test_only_our_own_flags_are_moved():
    assert _flags_first(["convert", "-v", "m", "--debug"]) == ["-v", "--debug", "convert", "m"]
    assert _flags_first(["convert", "--", "-v", "--debug"]) == ["convert", "--", "-v", "--debug"]


def test_a_reader_that_goes_away_is_no_error():
    code = "import sys; from edgeopt.cli import run; run(['--help'])"
    reading = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    reading.stdout.close()
    assert b"Traceback" not in reading.stderr.read()
    reading.stderr.close()
    reading.wait()


def test_termination_leaves_by_way_of_the_clean_up():
    code = (
        "import sys, time\nfrom edgeopt import cli\n"
        "def slow(arguments):\n"
        "    try:\n        print('ready', flush=True); time.sleep(60)\n"
        "    finally:\n        print('cleaned', flush=True)\n"
        "cli.main = slow\ncli.run([])\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGTERM)
    assert child.stdout.readline() == "cleaned\n"
    assert child.wait(10) == 128 + signal.SIGTERM
    child.stdout.close()


def test_python_m_edgeopt_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "edgeopt", "--version"], capture_output=True, text=True, check=True)
    assert __version__ in done.stdout
