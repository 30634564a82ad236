"""`edgeopt.artifact.scratch`: temporary folders that are ours alone and do not pile up."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from edgeopt.artifact import scratch
from edgeopt.artifact.scratch import Scratch, base_folder, out_of_space, own_temporary_files, scratch_folder, sweep
from edgeopt.errors import DeviceError, ModelError, OutputError
from edgeopt.process.isolation import ChildCrash, run_isolated

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder for temporary files, also of children."""
    made = tmp_path / "tmp"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    monkeypatch.setenv("TMPDIR", str(made))
    monkeypatch.setattr(scratch, "_swept", set())
    return made


def test_it_is_this_users_alone_and_gone_afterwards(folder):
    with scratch_folder("convert") as made:
        assert made.parent == folder and made.name.startswith("edgeopt-convert-")
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        (made / "deep").mkdir()
    assert list(folder.iterdir()) == []


def test_a_killed_runs_folder_is_removed_by_the_next_and_a_living_ones_is_not(folder):
    code = (
        "import time; from pathlib import Path; from edgeopt.artifact.scratch import Scratch; made = Scratch('convert'); "
        "(made.path / 'saved_model.pb').write_text('x'); print(made.path, flush=True); time.sleep(60)"
    )
    pipe = {"stdout": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen([sys.executable, "-c", code], **pipe) for _ in range(2)]
    try:
        left, live = (Path(run.stdout.readline().strip()) for run in runs)
        runs[0].kill()
        runs[0].wait()
        assert (left / "saved_model.pb").exists()
        with scratch_folder("predict") as own:
            assert sorted(folder.iterdir()) == sorted([live, own])
    finally:
        for run in runs:
            run.kill()
            run.wait()
            run.stdout.close()


def aged(path, days):
    os.utime(path, (time.time() - days * 86400,) * 2)


def test_what_has_no_lock_must_be_of_yesterday(folder):
    """An older edgeopt's folders, which have no lock, and TensorFlow's files, may be in use."""
    names = ["edgeopt-convert-abcd_123", "edgeopt-convert-abcd_124"]
    for name in names:
        (folder / name / "lean").mkdir(parents=True)
    files = ["__autograph_generated_fileab_c1234.py", "__autograph_generated_fileab_c1235.py"]
    for name in files:
        (folder / name).write_text("")
    for name in (names[0], files[0]):
        aged(folder / name, 2)
    sweep(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted([names[1], files[1]])


@pytest.mark.parametrize(
    "name",
    ["edgeopt-convert-abcd12345", "edgeopt-0", "edgeopt-pi-abcd1234", "my-edgeopt-convert-abcd1234", "notes.txt"],
)
def test_what_is_of_another_name_stays(folder, name):
    (folder / name).mkdir()
    aged(folder / name, 9)
    sweep(folder)
    assert (folder / name).is_dir()


def test_a_link_is_not_followed(folder, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (folder / "edgeopt-convert-abcd1234").symlink_to(tmp_path / "precious")
    inside = folder / "edgeopt-convert-abcd1235"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "precious")
    (inside / ".edgeopt-lock").symlink_to(tmp_path / "precious" / "file")
    aged(inside, 2)
    sweep(folder)
    assert (tmp_path / "precious" / "file").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to make another user's folder")
def test_another_users_folder_stays(folder):
    path = folder / "edgeopt-convert-abcd1234"
    path.mkdir()
    os.chown(path, 65534, 65534)
    aged(path, 9)
    sweep(folder)
    assert path.is_dir()


TARGETS = """
import errno, os, tempfile
from edgeopt.errors import ModelError

def leave(request, emit):
    tempfile.NamedTemporaryFile(prefix="__autograph_generated_file", suffix=".py", delete=False)
    return tempfile.gettempdir()

def die(request, emit):
    leave(request, emit)
    os.kill(os.getpid(), 9)

def fill(request, emit):
    raise OSError(errno.ENOSPC, "No space left on device")

def fill_deep(request, emit):
    try:
        raise RuntimeError("{{node SaveV2}} /tmp/x/part-0.tempstate; No space left on device [Op:SaveV2]")
    except RuntimeError as error:
        raise ModelError("The model cannot be traced") from error

def fill_and_die(request, emit):
    os.write(2, b"terminate called: No space left on device\\n")
    os._exit(3)
"""


@pytest.fixture
def targets(tmp_path, monkeypatch):
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "scratch_targets.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(str(tmp_path / "targets"))


@pytest.mark.parametrize("modules", [[], ["decimal"]], ids=["new", "forked"])
def test_what_tensorflow_leaves_in_a_child_goes_with_the_child(folder, targets, modules):
    used = run_isolated("scratch_targets:leave", {}, modules=modules)
    assert Path(used).parent == folder
    with pytest.raises(ChildCrash, match="SIGKILL"):
        run_isolated("scratch_targets:die", {}, modules=modules)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("target", ["fill", "fill_deep", "fill_and_die"])
def test_a_full_folder_is_said_to_be_that(folder, targets, target):
    with pytest.raises(OutputError, match=rf"no space left for temporary files in {folder}; .*set TMPDIR"):
        run_isolated(f"scratch_targets:{target}", {})


def test_so_it_is_in_this_process(folder, monkeypatch):
    with pytest.raises(OutputError, match="set TMPDIR"), scratch_folder("predict"):
        raise FULL
    with pytest.raises(KeyError, match="other"), scratch_folder("predict"):
        raise KeyError("other")
    monkeypatch.setattr(scratch, "_is_full", lambda folder: True)
    with pytest.raises(OutputError, match="set TMPDIR"), scratch_folder("predict"):
        raise OSError("4096 requested and 17 written")  # NumPy, which does not say why
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: (_ for _ in ()).throw(FULL))
    with pytest.raises(OutputError, match="Cannot make a temporary folder .*No space left on device; set TMPDIR"):
        scratch_folder("predict").__enter__()


def test_what_is_no_full_folder_of_this_machine_is_left_as_it_is(folder):
    assert out_of_space(DeviceError("board: No space left on device")) is None
    assert out_of_space(OutputError("Cannot write x: No space left on device")) is None
    assert out_of_space(ModelError("There is no space left on device here")) is None
    assert out_of_space(ValueError("x")) is None


def test_the_command_line_keeps_all_its_temporary_files_in_one_folder(folder):
    with own_temporary_files():
        inside = Path(tempfile.gettempdir())
        assert inside.parent == folder and base_folder() == folder
        Path(tempfile.mkdtemp(prefix="tensorflow")).joinpath("big").touch()
        with scratch_folder("convert") as made:
            assert made.parent == inside and base_folder() == folder
    assert list(folder.iterdir()) == [] and tempfile.gettempdir() == str(folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_that_ended_anyhow_leaves_nothing_to_the_one_after_the_next(folder, number):
    code = "from edgeopt.cli import run, main; import edgeopt.cli as c, time, tempfile; " \
           "c.main = lambda _: (print(tempfile.mkdtemp(), flush=True), time.sleep(60)); run(['convert'])"  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        made = Path(run.stdout.readline().strip())
        run.send_signal(number)
        run.wait()
    assert made.exists() is (number == signal.SIGKILL) and folder in made.parents
    subprocess.run([sys.executable, "-m", "edgeopt", "devices", "list"], check=True, stdout=subprocess.DEVNULL)
    assert list(folder.iterdir()) == []


def test_closing_twice_does_no_harm(folder):
    made = Scratch("ssh")
    made.close()
    with open(os.devnull):  # takes the number of the lock
        made.close()


@pytest.mark.heavy
@pytest.mark.parametrize("size_kib", [64, 600])
def test_converting_with_a_full_tmpdir_says_so(tmp_path, size_kib):
    """On a file system of its own, which root can make."""
    import keras

    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(small)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        keras.Sequential([keras.Input((64,)), keras.layers.Dense(512), keras.layers.Dense(512)]).save(
            tmp_path / "m.keras"
        )
        argv = [sys.executable, "-m", "edgeopt", "convert", str(tmp_path / "m.keras"), "--quantize", "float16"]
        environment = {**os.environ, "TMPDIR": str(small)}
        done = subprocess.run(
            [*argv, "-o", str(tmp_path / "m.tflite")], env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 2
        assert f"no space left for temporary files in {small}" in done.stderr
        assert list(small.iterdir()) == [] and not (tmp_path / "m.json").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)
