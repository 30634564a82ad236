"""When the tests of a board are skipped, and when they fail."""

from __future__ import annotations

import pytest

from . import starting
from .apt import Unavailable


class Started:
    """A board that did start."""

    stopped = False

    def stop(self):
        self.stopped = True


def cannot(cache):
    raise Unavailable("no kernel for it")


@pytest.fixture
def outcome(monkeypatch, tmp_path):
    """What the fixture of the namespace board does, when it cannot start and the machine does as told."""
    monkeypatch.setenv("EDGEOPT_PI_TARGET", str(tmp_path))

    def of(required, machine):
        monkeypatch.setenv(starting.REQUIRED_VARIABLE, required)
        monkeypatch.setattr(starting, "_ROUTES", {"namespace": cannot, "machine": machine})
        with pytest.raises((pytest.skip.Exception, pytest.fail.Exception), match="namespace: no kernel") as caught:
            with starting.started("namespace"):
                pass
        return caught.type

    return of


def test_a_board_that_cannot_start_skips_its_tests_with_the_reason(outcome):
    assert outcome("", cannot) is pytest.skip.Exception


def test_where_a_board_is_required_one_of_two_will_do(outcome):
    board = Started()
    assert outcome("1", lambda cache: board) is pytest.skip.Exception
    assert board.stopped
    assert outcome("1", cannot) is pytest.fail.Exception
    assert outcome("all", lambda cache: board) is pytest.fail.Exception


def test_the_first_route_that_starts_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEOPT_PI_TARGET", str(tmp_path))
    board = Started()
    monkeypatch.setattr(starting, "_ROUTES", {"namespace": cannot, "machine": lambda cache: board})
    with starting.started("namespace", "machine") as found:
        assert found is board
        assert not board.stopped
    assert board.stopped
