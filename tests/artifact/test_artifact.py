"""`edgeopt.artifact.artifact` and `atomic`: a file and its sidecar, written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
from pathlib import Path

import pytest

from edgeopt.artifact.artifact import Artifact, check_output, sidecar_path
from edgeopt.artifact.atomic import replacing, write_atomically, write_together
from edgeopt.errors import FileFormatError, OutputError, UsageError

MODEL = b"\x1c\0\0\0TFL3 not really"


@pytest.fixture
def artifact():
    bare = Artifact(MODEL)
    return Artifact(MODEL, {"sha256": bare.sha256, "fully_int8": True, "warnings": ["few-samples: 3"]})


def test_saving_and_loading_gives_the_same(artifact, tmp_path):
    path = artifact.save(tmp_path / "m.tflite")
    assert path.read_bytes() == MODEL
    found = Artifact.load(path)
    assert found.model == MODEL
    assert found.sidecar["artifact"] == str(path)
    assert (found.sha256, found.size_bytes) == (artifact.sha256, len(MODEL))
    assert found.fully_int8
    assert found.warnings == ("few-samples: 3",)


def test_the_sidecar_is_the_json_envelope(artifact, tmp_path):
    artifact.save(tmp_path / "m.tflite")
    found = json.loads((tmp_path / "m.json").read_text())
    assert found == {**artifact.to_dict(), "artifact": str(tmp_path / "m.tflite")}
    assert (found["schema_version"], found["verdict"], found["tool"]["name"]) == (1, "ok", "edgeopt")


def test_nothing_is_left_beside_the_two_files(artifact, tmp_path):
    artifact.save(tmp_path / "m.tflite")
    artifact.save(tmp_path / "m.tflite", force=True)
    assert sorted(os.listdir(tmp_path)) == ["m.json", "m.tflite"]


@pytest.mark.parametrize("existing", ["m.tflite", "m.json"])
def test_neither_file_is_overwritten_without_force(artifact, tmp_path, existing):
    (tmp_path / existing).write_text("precious")
    with pytest.raises(OutputError, match=rf"{existing} exists already; pass --force \(force=True\)"):
        artifact.save(tmp_path / "m.tflite")
    assert (tmp_path / existing).read_text() == "precious"
    assert os.listdir(tmp_path) == [existing]
    artifact.save(tmp_path / "m.tflite", force=True)
    assert (tmp_path / "m.tflite").read_bytes() == MODEL


def test_a_file_without_sidecar_is_an_artifact(tmp_path):
    (tmp_path / "m.tflite").write_bytes(MODEL)
    assert Artifact.load(tmp_path / "m.tflite") == Artifact(MODEL)


@pytest.mark.parametrize("text", ['{"class_name": "Functional"}', "[1, 2]"])
def test_json_of_somebody_else_is_no_sidecar(tmp_path, text):
    (tmp_path / "m.tflite").write_bytes(MODEL)
    (tmp_path / "m.json").write_text(text)
    assert Artifact.load(tmp_path / "m.tflite") == Artifact(MODEL)


def test_the_sidecar_of_another_file_is_refused(artifact, tmp_path):
    artifact.save(tmp_path / "m.tflite")
    (tmp_path / "m.tflite").write_bytes(MODEL + b"!")
    with pytest.raises(
        FileFormatError, match=r"m\.json belongs to another file than .*m\.tflite; remove it or convert"
    ):
        Artifact.load(tmp_path / "m.tflite")


def test_a_damaged_sidecar_is_refused(artifact, tmp_path):
    artifact.save(tmp_path / "m.tflite")
    (tmp_path / "m.json").write_bytes((tmp_path / "m.json").read_bytes()[:-4])
    with pytest.raises(FileFormatError, match=r"m\.json is not readable JSON"):
        Artifact.load(tmp_path / "m.tflite")


def test_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match=r"Cannot read .*absent\.tflite: No such file or directory"):
        Artifact.load(tmp_path / "absent.tflite")


def test_the_sidecar_lies_beside_the_file():
    assert str(sidecar_path("a/b.int8.tflite")) == "a/b.int8.json"


def test_outputs_that_cannot_be(tmp_path):
    for path, sentence in (
        (tmp_path, "is a folder, but a file name was expected"),
        (tmp_path / "no" / "m.tflite", "the folder .* does not exist; create it first"),
        (tmp_path / "m.json", r"is the name of a sidecar; expected a file name that ends in \.tflite"),
    ):
        with pytest.raises(OutputError, match=sentence):
            check_output(path, force=True)
    check_output(tmp_path / "m.tflite", force=False)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    target = tmp_path / "m.tflite"
    target.write_bytes(b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=re.escape(f"Cannot write {target}: No space left on device")):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.tflite"]


@pytest.fixture
def steps(monkeypatch):
    """Which files the file system is told to keep ("kept") and which are given their names ("named"), in this order."""
    found = []
    sync, rename = os.fsync, os.replace

    def fsync(descriptor):
        found.append(("kept", os.fstat(descriptor).st_ino))
        sync(descriptor)

    def replace(old, new):
        found.append(("named", os.stat(old).st_ino))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    return found


def replaced(path, data):
    with replacing(path) as made:
        made.write_bytes(data)


@pytest.mark.parametrize("write", [write_atomically, replaced])
def test_who_reads_the_old_file_meanwhile_reads_it_to_the_end(tmp_path, write):
    target = tmp_path / "m.tflite"
    target.write_bytes(b"old")
    with target.open("rb") as reader:
        write(target, b"new")
        assert (reader.read(), target.read_bytes()) == (b"old", b"new")


@pytest.mark.parametrize("write", [write_atomically, replaced])
def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, steps, write):
    """After a power cut the name may then stand for the old file or the new one, and not for an empty one."""
    write(tmp_path / "m.tflite", b"new")
    file = (tmp_path / "m.tflite").stat().st_ino
    assert steps == [("kept", file), ("named", file)]


def test_a_file_is_never_there_without_its_sidecar(artifact, tmp_path, steps):
    artifact.save(tmp_path / "m.tflite")
    file, sidecar = ((tmp_path / name).stat().st_ino for name in ("m.tflite", "m.json"))
    assert steps == [("kept", sidecar), ("kept", file), ("named", sidecar), ("named", file)]


def test_an_interrupt_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    target = tmp_path / "m.tflite"
    target.write_bytes(b"old")

    def interrupted(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt, match="^$"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.tflite"]


def test_files_have_the_permissions_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "m", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640


@pytest.mark.parametrize("full_at", [1, 2])
def test_a_full_disk_leaves_neither_file(artifact, tmp_path, monkeypatch, full_at):
    """The disk is full when the first of the two is written, or the second."""
    real, calls = os.fsync, []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        artifact.save(tmp_path / "m.tflite")
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    artifact.save(tmp_path / "m.tflite")


@pytest.mark.parametrize("failing_at", [1, 2])
def test_a_name_that_cannot_be_given_leaves_neither_file(artifact, tmp_path, monkeypatch, failing_at):
    real, calls = os.replace, []

    def rename(source, target):
        calls.append(target)
        if len(calls) == failing_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, target)

    monkeypatch.setattr(os, "replace", rename)
    with pytest.raises(OutputError, match="Input/output error"):
        artifact.save(tmp_path / "m.tflite")
    assert os.listdir(tmp_path) == []


def test_a_sidecar_that_was_left_alone_is_no_obstacle(artifact, tmp_path):
    artifact.save(tmp_path / "m.tflite")
    (tmp_path / "m.tflite").unlink()
    check_output(tmp_path / "m.tflite", force=False)
    artifact.save(tmp_path / "m.tflite")
    with pytest.raises(OutputError, match="exists already"):
        artifact.save(tmp_path / "m.tflite")


def test_new_files_have_the_rights_that_the_user_wants_and_nobody_elses_change(artifact, tmp_path, monkeypatch):
    """The umask is the whole process's: to read it by setting it would open what another thread makes meanwhile."""
    before = os.umask(0o027)
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask was touched"))
    try:
        artifact.save(tmp_path / "m.tflite")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o640, 0o640]


def test_what_a_killed_run_left_is_removed_and_what_is_being_written_is_not(artifact, tmp_path):
    left, live = (tmp_path / f".m.tflite.{digit * 16}.tmp" for digit in "ab")
    for path in (left, live):
        path.write_bytes(b"part")
    (tmp_path / ".m.tflite.mine.tmp").write_bytes(b"other")
    with live.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        artifact.save(tmp_path / "m.tflite")
    assert sorted(os.listdir(tmp_path)) == [live.name, ".m.tflite.mine.tmp", "m.json", "m.tflite"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warnings": 3}, "warnings is 3, expected a list"),
        ({"warnings": {"a": 1}}, "warnings is a dict, expected a list"),
        ({"calibration": {"hashes": [[[]]]}}, r"hashes\[0\] is a list, expected text"),
        ({"calibration": [1]}, "calibration is a list, expected a table"),
        ({"images": {"size": "big"}}, "size is 'big', expected a list"),
        ({"recipe": {"image_scaling": []}}, "image_scaling is a list, expected text"),
        ({"fully_int8": "no"}, "fully_int8 is 'no', expected true or false"),
        ({"sha256": 3}, "sha256 is 3, expected text"),
        ({"fidelity": 3}, "fidelity is 3, expected a table"),
        ({"fidelity": {"outputs": [], "samples": 1, "held_back": True, "cause": None}}, "fidelity has no outputs"),
        ({"recipe": {"min_fidelity": "20"}}, "min_fidelity is '20', expected a finite number"),
    ],
)
def test_a_sidecar_with_odd_values_ends_in_a_sentence(artifact, tmp_path, changes, message):
    path = artifact.save(tmp_path / "m.tflite")
    side = sidecar_path(path)
    side.write_text(json.dumps({**json.loads(side.read_text()), **changes}))
    with pytest.raises(FileFormatError, match=f"is not as edgeopt writes it .*{message}"):
        Artifact.load(path)


def test_a_sidecar_that_nests_without_end_is_not_readable(artifact, tmp_path):
    path = artifact.save(tmp_path / "m.tflite")
    sidecar_path(path).write_text("[" * 100_000)
    with pytest.raises(FileFormatError, match="not readable JSON .*nests deeper"):
        Artifact.load(path)
    path.unlink()
    with pytest.raises(OutputError, match="m.json exists"):  # it is no sidecar of edgeopt's
        check_output(path, force=False)


def test_an_artifact_without_a_sidecar_promises_nothing():
    assert (Artifact(MODEL).warnings, Artifact(MODEL).fully_int8) == ((), False)
    assert Artifact(MODEL).to_dict()["verdict"] == "ok"


def test_a_sidecar_is_text_for_people_and_what_is_no_json_is_not_written(tmp_path):
    Artifact(MODEL, {"warnings": ["käse"]}).save(tmp_path / "m.tflite")
    text = (tmp_path / "m.json").read_text("utf-8")
    assert '\n  "warnings": [\n    "käse"\n  ]' in text and text.endswith("\n}\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        Artifact(MODEL, {"snr_db": float("nan")}).save(tmp_path / "n.tflite")
    assert not (tmp_path / "n.tflite").exists()


def test_what_writes_together_says_which_could_not_be_written(tmp_path):
    with pytest.raises(
        OutputError, match=r"^Cannot write .*no/b: No such file or directory; free some space or choose"
    ):
        write_together([(tmp_path / "a", b"1"), (tmp_path / "no" / "b", b"2")])
    assert os.listdir(tmp_path) == []
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").mkdir()
    with pytest.raises(OutputError, match=r"^Cannot write .*/b: Is a directory; free some space"):
        write_together([(tmp_path / "b", b"2")])


def test_a_replacement_that_fails_is_named_as_its_caller_does(tmp_path):
    with pytest.raises(OutputError, match=r"^Cannot write the model .*/m: No space left on device; free some space or"):
        with replacing(tmp_path / "m", "the model "):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OutputError, match=r"^Cannot write .*/m: 4096 requested and 17 written; free some space or"):
        with replacing(tmp_path / "m"):
            raise OSError("4096 requested and 17 written")
    with pytest.raises(KeyError, match="other"), replacing(tmp_path / "m"):
        raise KeyError("other")
    assert os.listdir(tmp_path) == []


def test_a_left_part_of_another_name_and_a_link_stay(artifact, tmp_path):
    for name in (".m.tflite.0123456789abcdef.tmp.old", ".n.tflite.0123456789abcdef.tmp", ".m.tflite.0123.tmp"):
        (tmp_path / name).touch()
    (tmp_path / "precious").touch()
    (tmp_path / ".m.tflite.fedcba9876543210.tmp").symlink_to(tmp_path / "precious")
    before = set(os.listdir(tmp_path))
    artifact.save(tmp_path / "m.tflite")
    assert set(os.listdir(tmp_path)) == before | {"m.json", "m.tflite"}


def test_of_three_files_a_third_that_gets_no_name_takes_the_first_two_with_it(tmp_path, monkeypatch):
    rename, names = os.replace, [tmp_path / name for name in "abc"]

    def failing(source, target):
        if target == names[2]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError, match="/c: Input/output error"):
        write_together([(name, b"new") for name in names])
    assert os.listdir(tmp_path) == []


def test_what_a_run_killed_before_its_last_step_leaves_the_next_removes(tmp_path, monkeypatch):
    rename, parts = os.replace, []

    def noted(source, target):
        parts.append(source)
        rename(source, target)

    monkeypatch.setattr(os, "replace", noted)
    write_atomically(tmp_path / "m", b"1")
    (left,) = map(Path, parts)
    left.write_bytes(b"part")
    write_atomically(tmp_path / "m", b"2")
    assert not left.exists() and len(set(parts)) == 2, "each has a name of its own"
