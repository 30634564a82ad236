"""Whose folder is it? What edgeopt's commands leave alone on a board, with a board that an ssh of the test's own plays."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from edgeopt.cli.main import main
from edgeopt.devices import Device, LocalTransport
from edgeopt.devices.agent.claim import MARKER, claim
from edgeopt.devices.agent.protocol import AgentError
from edgeopt.devices.agent.workfolder import WorkFolder
from edgeopt.devices.boards import setup
from edgeopt.devices.boards.inventory import Board, Inventory
from edgeopt.devices.transport.ssh import SshAddress, SshTransport
from edgeopt.devices.transport.workdir import checked_workdir
from edgeopt.errors import DeviceError, UsageError

from .conftest import halving_model

SSH = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
cd "$HOME"
exec sh -c "$3"
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home folder of a board that is this machine: what of edgeopt's names a user may have there, and more."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(SSH)
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    folder = tmp_path / "home"
    for name in ("files/thesis.txt", "runs/marathon.gpx", "wheels/bike.jpg", "venv/wine.txt", "work/notes.txt"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("mine")
    monkeypatch.setenv("HOME", str(folder))
    return folder


def users_files(home):
    found = (
        path for path in home.rglob("*") if path.is_file() and not path.is_symlink() and path.read_bytes() == b"mine"
    )
    return sorted(str(path.relative_to(home)) for path in found)


ALL = ["files/thesis.txt", "runs/marathon.gpx", "venv/wine.txt", "wheels/bike.jpg", "work/notes.txt"]


def transport(workdir):
    return SshTransport(SshAddress("board"), workdir=workdir, python=[sys.executable])


def inventory(tmp_path, workdir):
    path = tmp_path / "devices.toml"
    fields = {"profile": "generic-arm64", "host": "board", "python": sys.executable, "workdir": workdir}
    path.write_text("[devices.b]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items()))
    return str(path)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(halving_model())
    return str(path)


BENCH = ("--seconds", "0.05", "--processes", "1")


@pytest.mark.parametrize(
    "workdir",
    ["", "/", "~/", "~", ".", "./", "./.", "..", "../x", "a/../..", "~/../x", "~pi/x", "/home", "/home/pi", "/home/pi/",
     "//home//pi", "/root", "/x/../home/pi", "new\nline"],
)  # fmt: skip
def test_what_is_or_could_be_the_home_folder_is_no_work_folder(workdir):
    with pytest.raises(UsageError, match=r"(The work folder is|has workdir = ')"):
        Board("b", "rpi4", "pi@b", workdir=workdir)
    with pytest.raises(UsageError, match="expected a folder of edgeopt's own"):
        transport(workdir)


def test_the_plain_form_of_a_work_folder():
    assert checked_workdir("~/.cache//edgeopt/") == ".cache/edgeopt"
    assert checked_workdir("//data/./edgeopt") == "/data/edgeopt"
    assert checked_workdir("/home/pi/edgeopt") == "/home/pi/edgeopt"
    assert checked_workdir("a..b/wörk 'x\" $y") == "a..b/wörk 'x\" $y"


@pytest.mark.parametrize("command", ["add", "clean", "setup", "bench"])
def test_every_command_refuses_such_a_folder(home, tmp_path, model, command, capsys):
    path = inventory(tmp_path, "~/")
    words = {
        "add": ["devices", "add", "c", "--profile", "rpi4", "--host", "b", "--workdir", "~/", "--devices", path + "2"],
        "clean": ["devices", "clean", "b", "--all", "--devices", path],
        "setup": ["devices", "setup", "b", "--devices", path],
        "bench": ["bench", model, "--device", "b", "--devices", path, *BENCH],
    }
    assert main(words[command]) == 2
    assert "The work folder is '~/'" in capsys.readouterr().err
    assert users_files(home) == ALL


@pytest.mark.parametrize("command", ["clean", "clean --all", "setup", "setup --adopt", "bench"])
def test_a_folder_with_the_users_files_is_refused_by_every_command(home, tmp_path, model, command, capsys):
    path = inventory(tmp_path, "work")
    verb, *flags = command.split()
    words = ["bench", model, "--device", "b", *BENCH] if verb == "bench" else ["devices", verb, "b", *flags]
    assert main([*words, "--devices", path]) == 5
    assert f"The work folder {home}/work on board is not used: it holds 'notes.txt', which" in capsys.readouterr().err
    assert users_files(home) == ALL
    assert not (home / "work" / MARKER).exists()


def added(tmp_path, workdir, *more):
    words = ["devices", "add", "b", "--profile", "generic-arm64", "--host", "board", "--workdir", workdir, *more]
    return main([*words, "--devices", str(tmp_path / "devices.toml")])


def test_add_asks_the_board_and_refuses_what_the_other_commands_would(home, tmp_path, capsys):
    (home / "link").symlink_to(home / "work")
    for workdir, why in (("work", "it holds 'notes.txt', which"), ("link", "it is a symbolic link")):
        assert added(tmp_path, workdir) == 5
        assert f"/{workdir} on board is not used: {why}" in " ".join(capsys.readouterr().err.split())
    assert added(tmp_path, str(home)) == 5
    assert "it is the home folder, or above it" in capsys.readouterr().err
    assert not (tmp_path / "devices.toml").exists()
    for workdir in (".cache/edgeopt", "files/new"):
        assert added(tmp_path, workdir, "--force") == 0
        assert capsys.readouterr().err == ""
        assert not (home / workdir).exists(), "nothing is made"
    old_folder(home)
    assert added(tmp_path, "old", "--force") == 0
    assert "`edgeopt devices setup b --adopt` takes it over" in " ".join(capsys.readouterr().err.split())
    assert users_files(home) == ALL


def test_a_board_that_does_not_answer_is_added_with_one_warning(home, tmp_path, capsys):
    (tmp_path / "bin" / "ssh").write_text("#!/bin/sh\necho 'No route to host' >&2\nexit 255\n")
    assert added(tmp_path, "work") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("b is added without a look at its work folder") == 1
    assert "board" in (tmp_path / "devices.toml").read_text()


def test_a_bad_work_folder_of_the_inventory_names_the_command_that_corrects_it(home, tmp_path, capsys):
    path = Path(inventory(tmp_path, "~/"))
    path.write_text(path.read_text() + '\n[devices.other]\nprofile = "rpi4"\nhost = "o"\n')
    assert main(["devices", "show", "other", "--devices", str(path)]) == 0, "it does not stop the others"
    assert main(["devices", "list", "--devices", str(path)]) == 0
    assert "not usable:" in capsys.readouterr().out
    assert main(["devices", "check", "b", "--devices", str(path)]) == 2
    command = " ".join(capsys.readouterr().err.split()).partition("to correct it: edgeopt ")[2].rstrip(".")
    assert main(shlex.split(command)) == 0
    found = Inventory.find(path)
    assert found.board("b") == Board("b", "generic-arm64", "board", python=sys.executable)
    assert found.refused() == [] and len(found.boards()) == 2
    path = Path(inventory(tmp_path, "/home/pi"))
    assert main(["devices", "remove", "b", "--devices", str(path)]) == 0
    capsys.readouterr()


def test_the_users_files_beside_edgeopts_folder_survive_everything(home, tmp_path, model, capsys):
    path = inventory(tmp_path, ".cache/edgeopt")
    folder = home / ".cache" / "edgeopt"
    assert main(["bench", model, "--device", "b", "--devices", path, *BENCH]) == 0
    assert sorted(item.name for item in folder.iterdir()) == [MARKER, "files", "lock", "runs"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert main(["devices", "clean", "b", "--devices", path]) == 0
    assert sorted(item.name for item in folder.iterdir()) == [MARKER, "lock"]
    assert main(["devices", "clean", "b", "--devices", path, "--all"]) == 0
    assert not folder.exists() and folder.parent.is_dir()
    assert main(["devices", "clean", "b", "--devices", path]) == 0  # nothing there, nothing made
    assert not folder.exists()
    assert users_files(home) == ALL
    capsys.readouterr()


def old_folder(home):
    """What an edgeopt without marks has left."""
    folder = home / "old"
    for name in ("files", "runs", "venv/bin"):
        (folder / name).mkdir(parents=True)
    (folder / "lock").touch()
    return folder


def test_a_folder_of_an_older_edgeopt_is_adopted_by_setup_only_when_it_is_told_to(home, tmp_path, model, monkeypatch):
    folder, path = old_folder(home), inventory(tmp_path, "old")
    for words in (["devices", "clean", "b"], ["devices", "setup", "b"], ["bench", model, "--device", "b", *BENCH]):
        assert main([*words, "--devices", path]) == 5
    with (
        transport("old") as board,
        pytest.raises(DeviceError, match=r"\.edgeopt-folder is missing.*setup NAME --adopt"),
    ):
        board.remove(board.workdir, timeout_s=30)
    assert not (folder / MARKER).exists() and (folder / "venv" / "bin").is_dir()

    def stop(transport):
        raise DeviceError("That was all; stop.")

    monkeypatch.setattr(setup, "board_facts", stop)
    assert main(["devices", "setup", "b", "--adopt", "--devices", path]) == 5
    assert (folder / MARKER).is_file()
    assert main(["bench", model, "--device", "b", *BENCH, "--devices", path]) == 0


def test_the_home_folder_by_another_name_is_refused_even_when_it_is_marked(home, tmp_path):
    (home / MARKER).touch()
    (tmp_path / "alias").symlink_to(home)
    (tmp_path / "above").symlink_to(tmp_path)
    for name in (str(home), str(tmp_path), str(tmp_path / "above" / "home")):
        with transport(name) as board, pytest.raises(DeviceError, match="it is the home folder, or above it"):
            board.remove(board.workdir, timeout_s=30)
    with transport(str(tmp_path / "alias")) as board, pytest.raises(DeviceError, match="it is a symbolic link"):
        board.remove(board.workdir, timeout_s=30)
    assert users_files(home) == ALL


@pytest.mark.parametrize("name", ["files", "runs", "wheels", "venv", MARKER])
@pytest.mark.parametrize("act", ["put", "remove", "claim"])
def test_a_link_in_the_work_folder_is_not_followed(home, model, name, act):
    folder = home / "linked"
    folder.mkdir()
    (folder / MARKER).touch()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(home / "work" / "notes.txt" if name == MARKER else home / "work")
    acts = {
        "put": lambda board: board.put(Path(model), timeout_s=30),
        "remove": lambda board: board.remove(f"{board.workdir}/{name}/notes.txt", timeout_s=30),
        "claim": lambda board: board.claim(adopt=True, timeout_s=30),
    }
    with transport("linked") as board, pytest.raises(DeviceError, match=f"{name} in it is a symbolic link"):
        acts[act](board)
    assert users_files(home) == ALL and len(list((home / "work").iterdir())) == 1


def test_a_link_deeper_in_it_is_removed_and_not_followed(home):
    folder = home / "linked"
    (folder / "runs").mkdir(parents=True)
    (folder / MARKER).touch()
    (folder / "runs" / "out").symlink_to(home / "work")
    with transport("linked") as board:
        with pytest.raises(DeviceError, match="out in it is a symbolic link"):
            board.remove(f"{board.workdir}/runs/out/notes.txt", timeout_s=30)
        board.remove(f"{board.workdir}/runs", timeout_s=30)
    assert users_files(home) == ALL and not (folder / "runs").exists()


def test_a_folder_that_is_reached_by_a_link_above_it_is_marked_where_it_is(home, tmp_path, model):
    """Many have their ~/.cache on another disk."""
    (tmp_path / "disk").mkdir()
    (home / ".cache").symlink_to(tmp_path / "disk")
    with transport(".cache/edgeopt") as board:
        board.put(Path(model), timeout_s=30)
        assert (tmp_path / "disk" / "edgeopt" / MARKER).read_text().startswith("This folder was made by edgeopt.")
        board.remove(board.workdir, timeout_s=30)
    assert list((tmp_path / "disk").iterdir()) == []


def test_only_a_whole_file_with_the_right_hash_gets_its_name(home, model):
    """What an earlier try left is gone on with, and thrown away where it turns out to be damaged."""
    with transport("fresh") as board:
        stored = Path(board.put(Path(model), timeout_s=30))
    stored.rename(f"{stored}.part")
    Path(f"{stored}.part").write_bytes(b"damaged on its way")
    with transport("fresh") as board:
        assert Path(board.put(Path(model), timeout_s=30)).read_bytes() == Path(model).read_bytes()
    assert list(stored.parent.iterdir()) == [stored]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to make another user's folder")
def test_a_folder_of_another_user_is_refused(home, model):
    (home / "theirs").mkdir()
    os.chown(home / "theirs", 65534, 65534)
    with transport("theirs") as board, pytest.raises(DeviceError, match="it belongs to another user"):
        board.put(Path(model), timeout_s=30)
    with pytest.raises(AgentError, match="it belongs to another user"):
        claim(str(home / "theirs"))


@pytest.mark.parametrize("act", [claim, WorkFolder, lambda path: LocalTransport(workdir=Path(path))])
def test_the_agent_and_this_machine_have_the_same_rules(home, act):
    kinds = (AgentError, DeviceError)
    with pytest.raises(kinds, match=r"holds 'notes.txt', which is not edgeopt's"):
        act(str(home / "work"))
    with pytest.raises(kinds, match=r"\.edgeopt-folder is missing"):
        act(str(old_folder(home)))
    with pytest.raises(kinds, match="it is the home folder, or above it"):
        act(str(home))
    linked = home / "linked"
    linked.mkdir()
    (linked / "runs").symlink_to(home / "work")
    (linked / MARKER).touch()
    with pytest.raises(kinds, match="runs in it is a symbolic link"):
        act(str(linked))
    assert users_files(home) == ALL
    act(str(home / "fresh"))
    act(str(home / "fresh"))
    assert (home / "fresh" / MARKER).is_file()


def test_a_run_removes_links_and_files_of_lost_runs_and_not_what_they_lead_to(home):
    folder = WorkFolder(str(home / "fresh"))
    (home / "fresh" / "runs" / "link").symlink_to(home / "work")
    (home / "fresh" / "runs" / "file").write_text("")
    run = Path(folder.open_run("n"))
    assert list((home / "fresh" / "runs").iterdir()) == [run]
    assert users_files(home) == ALL


def test_the_default_folder_of_this_machine_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"edgeopt-{os.getuid()}"
    (folder / "runs").mkdir(parents=True)
    assert Device.local().transport.workdir == str(folder)
    assert (folder / MARKER).is_file()


def test_removing_on_this_machine_follows_no_link_out(home):
    local = LocalTransport(workdir=home / "fresh")
    (home / "fresh" / "out").symlink_to(home / "work")
    with pytest.raises(DeviceError, match="a symbolic link leads out of the work folder"):
        local.remove(str(home / "fresh" / "out" / "notes.txt"), timeout_s=1)
    local.remove(str(home / "fresh" / "out"), timeout_s=1)
    assert users_files(home) == ALL
