"""Fixtures that every test may use."""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import budget

if TYPE_CHECKING:
    from .emulated_pi.board import Board
    from .running import RunningFile

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real models and data; tests that need it are skipped, with the reason, where it is absent."""
    folder = Path(os.environ.get("EDGEOPT_TEST_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"shared data absent: {folder} is not a folder (set EDGEOPT_TEST_DATA)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _every_result_is_held_against_its_schema() -> Iterator[None]:
    """What any test has edgeopt write as JSON, here or in a child, is as `edgeopt.schemas` says: no field more or less."""
    from edgeopt.artifact import envelope

    from .holding import children_held, hold

    written = envelope._dumped

    def held(payload: Mapping[str, object]) -> str:
        text = written(payload)
        hold(text)
        return text

    envelope._dumped = held
    with children_held():
        yield
    envelope._dumped = written


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def browser() -> str:
    """A real browser; tests that need one are skipped, with the reason, where it is absent."""
    from .browsing import found_browser

    found = found_browser()
    if found is None:
        if os.environ.get("EDGEOPT_REQUIRE_BROWSER"):
            pytest.fail("no browser: install chromium, or run scripts/browser as root")
        pytest.skip("no browser: chromium was not found")
    return found


@pytest.fixture(scope="session", params=["keras", "tf_keras"])
def any_keras(request: pytest.FixtureRequest) -> Any:
    """Keras 3, and then tf_keras: what uses it runs with both."""
    return importlib.import_module(request.param)


@pytest.fixture(scope="session")
def running() -> Callable[[bytes], RunningFile]:
    """Load a .tflite file into an interpreter that takes and gives real values by name."""
    from .running import RunningFile

    return RunningFile


@pytest.fixture(scope="session")
def pi_namespace() -> Iterator[Board]:
    """A real arm64 userland behind sshd on 127.0.0.1, quick to start; needs root. See tests/emulated_pi/README.md."""
    from .emulated_pi.starting import started

    with started("namespace") as board:
        yield board


@pytest.fixture(scope="session")
def pi_vm() -> Iterator[Board]:
    """A whole virtual arm64 board: its own kernel, 512 MB of memory, a disk that fills up, a link that breaks."""
    from .emulated_pi.starting import started

    with started("machine") as board:
        yield board


@pytest.fixture(scope="session")
def pi_board() -> Iterator[Board]:
    """Whichever emulated board this machine can start, the quicker first."""
    from .emulated_pi.starting import started

    with started("namespace", "machine") as board:
        yield board


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """After a run of minutes, say which files and folders took it, and which took more than CONTRIBUTING gives them."""
    found = chain.from_iterable(terminalreporter.stats.values())
    reports = [report for report in found if isinstance(report, pytest.TestReport)]
    seconds: Counter[str] = Counter()
    for report in reports:
        seconds[report.nodeid.split("::")[0]] += report.duration
    if sum(seconds.values()) < 120:
        return
    terminalreporter.section("slowest files")
    for name, spent in seconds.most_common(10):
        terminalreporter.write_line(f"{spent:7.1f} s  {name}")
    terminalreporter.section("folders, and their budgets in CONTRIBUTING")
    for line in budget.lines(budget.spent(reports), budget.budget()):
        terminalreporter.write_line(line)
