"""The live display: what runs, how far, about how long; on a terminal, in a file, and while TensorFlow loads."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from edgeopt.cli.progress import Display, live


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def display(clock, **options):
    """A display that writes to memory, and what it has written so far."""
    from rich.console import Console

    stream = io.StringIO()
    return Display(Console(file=stream, highlight=False, **options), clock), stream


def test_a_file_has_a_line_for_what_takes_a_while_and_none_for_what_does_not(clock):
    shown, stream = display(clock)
    for text, seconds in (("short", 0.5), ("long", 3.5)):
        shown.now(text)
        clock.now += seconds
        shown.beat()
    assert stream.getvalue().splitlines() == ["    4 s  long"]


def test_a_file_says_every_half_minute_how_far_it_is_and_about_how_long_it_takes(clock):
    shown, stream = display(clock)
    shown.event({"stage": "baseline", "done": 0, "total": 400})
    for done in (100, 150, 200):
        clock.now += 20
        shown.event({"stage": "baseline", "done": done, "total": 400})
        shown.beat()
    assert stream.getvalue().splitlines() == [
        "   20 s  running the baseline (100 of 400, 20 s, about 60 s left)",
        "   60 s  running the baseline (200 of 400, 60 s, about 60 s left)",
    ]


def test_lines_that_stay_tell_the_time_and_cannot_steer_the_terminal(clock):
    shown, stream = display(clock)
    clock.now = 12.3
    shown.say("qat: epoch 1 of 2: loss 0.3 \x1b[2J [bold]")
    assert stream.getvalue() == "   12 s  qat: epoch 1 of 2: loss 0.3 \ufffd[2J [bold]\n"


@pytest.mark.parametrize("width", [80, 100])
def test_a_terminal_has_one_line_within_its_width(clock, width):
    shown, stream = display(clock, force_terminal=True, width=width)
    shown.now("timing a file with a very long name, " * 5, 120, 600)
    assert stream.getvalue() == ""  # it is drawn by `live`
    clock.now = 12
    shown._out.print(shown)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert "120 of 600, 12 s, about 48 s left" in lines[0]


CODE = """
import os
from edgeopt.cli.progress import live
with live("starting") as display:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    display.say("told all the same")
"""


def test_what_is_told_arrives_while_descriptor_2_leads_nowhere():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stderr == "    0 s  told all the same\n"


def test_what_is_over_in_a_moment_tells_nothing(capsys):
    with live("reading the model"):
        pass
    assert capsys.readouterr().err == ""


def test_an_error_passes_through(capsys):
    with pytest.raises(ValueError, match="inside"), live("starting"):
        raise ValueError("inside")
    assert capsys.readouterr().err == ""
