"""A recovery that was interrupted goes on behind the steps that it had finished, to the same bytes."""

from __future__ import annotations

import pytest

from edgeopt.converters.recover.kept import forget_steps
from edgeopt.converters.recover.recovery import recover


class Killed(Exception):
    """Stands for a signal."""


def test_an_interrupted_recovery_gives_the_same_bytes_without_what_was_done(pair, tmp_path):
    folder, seen = tmp_path / "file.recover", []
    whole = recover(pair.file, pair.floats, pair.samples, None, lambda *at: None)

    def interrupt(method, done, total):
        if method == "rounding" and done == 2:
            raise Killed

    with pytest.raises(Killed):
        recover(pair.file, pair.floats, pair.samples, None, interrupt, folder)
    assert len(list(folder.iterdir())) == 2
    again = recover(pair.file, pair.floats, pair.samples, None, lambda *at: seen.append(at[0]), folder)
    assert (again.model, again.steps, again.calibrated) == (whole.model, whole.steps, whole.calibrated)
    assert set(seen) == {"rounding", "ranges"}
    other = {"x": pair.samples["x"][::-1]}
    seen.clear()
    recover(pair.file, pair.floats, other, None, lambda *at: seen.append(at[0]), folder)
    assert set(seen) == {"equalise", "bias", "rounding", "ranges"}  # other samples: nothing of it fits


def test_what_is_damaged_is_made_again(pair, tmp_path):
    seen = []
    recover(pair.file, pair.floats, pair.samples, None, lambda *at: None, tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    recover(pair.file, pair.floats, pair.samples, None, lambda *at: seen.append(at[0]), tmp_path)
    assert set(seen) == {"equalise", "bias", "rounding", "ranges"}


def test_only_what_is_ours_is_deleted(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "recover-0123.npz").write_bytes(b"")
    (folder / "notes.txt").write_text("mine")
    forget_steps(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    forget_steps(folder)
    assert not folder.exists()
