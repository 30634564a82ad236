"""`edgeopt.artifact.locking`: a lock is one opener's, and a file is one user's."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from edgeopt.artifact import locking
from edgeopt.artifact.locking import is_ours, lock


def test_a_file_is_locked_once_and_free_again_when_it_is_closed(tmp_path):
    path = tmp_path / "file"
    first = os.open(path, os.O_RDWR | os.O_CREAT)
    second = os.open(path, os.O_RDWR)
    try:
        lock(first, wait=True)
        with pytest.raises(BlockingIOError, match="temporarily unavailable"):
            lock(second, wait=False)
        os.close(first)
        lock(second, wait=True)
    finally:
        os.close(second)


def test_a_system_without_locks_says_so(monkeypatch):
    monkeypatch.setattr(locking, "fcntl", None)
    with pytest.raises(OSError, match="no locks on this system"):
        lock(0, wait=True)


def test_whose_a_file_is(tmp_path, monkeypatch):
    assert is_ours(os.stat(tmp_path))
    assert not is_ours(SimpleNamespace(st_uid=os.getuid() + 1))
    found = os.stat(tmp_path)
    monkeypatch.delattr(os, "getuid")
    assert not is_ours(found), "users have no numbers there"
