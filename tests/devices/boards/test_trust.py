"""Which inventory is believed: a stranger's project must not choose what runs here."""

from __future__ import annotations

import os

import pytest

from edgeopt.cli.main import main
from edgeopt.devices.boards import trust
from edgeopt.devices.boards.inventory import Board, Inventory, project_file
from edgeopt.devices.boards.trust import NotHonoured
from edgeopt.errors import UsageError

HOSTILE = '[devices.kitchen]\nprofile = "rpi4"\nhost = "pi@k"\nssh_config = "evil"\npython = "./evil"\nworkdir = "w"\n'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository below the home folder, as the current folder; with a settings folder of its own."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "home" / "code" / "repo"
    (folder / ".git").mkdir(parents=True)
    (folder / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("place", "start", "found"),
    [
        ("repo", "repo/deep/er", True),
        ("repo", "repo", True),
        (".", "repo", False),  # above the repository
        ("..", "repo/deep", False),
        (".", ".", True),
        ("..", ".", True),  # the home folder itself
        ("../..", ".", False),  # above the home folder
        ("../..", "../../elsewhere/deep", False),  # in neither
        ("../../elsewhere/deep", "../../elsewhere/deep", True),
        ("../../elsewhere", "../../elsewhere/deep", False),
    ],
)
def test_the_search_ends_at_the_repository_or_the_home_folder(project, tmp_path, place, start, found):
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    folder = (project.parent / place).resolve()
    (folder / "edgeopt-devices.toml").write_text(HOSTILE)
    assert (project_file((project.parent / start).resolve()) is not None) is found


def test_a_project_chooses_no_program_and_this_is_said(project):
    (project / "edgeopt-devices.toml").write_text(HOSTILE)
    with pytest.warns(NotHonoured, match=r"ssh_config and python of device 'kitchen' not honoured.*devices\.toml, or"):
        board = Inventory.find().board("kitchen")
    assert board == Board("kitchen", "rpi4", "pi@k", workdir="w")


def test_the_command_line_says_it_in_a_sentence(project, capsys):
    (project / "edgeopt-devices.toml").write_text(HOSTILE)
    assert main(["devices", "show", "kitchen"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"edgeopt: {project}/edgeopt-devices.toml: ssh_config and python of device 'kitchen'")
    assert "evil" not in said.out


def test_the_users_own_file_may_and_so_may_one_that_is_named(project, tmp_path, recwarn):
    (project / "edgeopt-devices.toml").write_text(HOSTILE)
    named = Inventory.find(project / "edgeopt-devices.toml").board("kitchen")
    assert (named.ssh_config, named.python) == (str(project / "evil"), "./evil")
    (tmp_path / "config" / "edgeopt").mkdir(parents=True)
    own = tmp_path / "config" / "edgeopt" / "devices.toml"
    own.write_text('[devices.kitchen]\nprofile = "rpi4"\nhost = "pi@k"\nssh_config = "/mine"\npython = "./evil"\n')
    assert not recwarn.list
    with pytest.warns(NotHonoured, match="ssh_config of device"):
        board = Inventory.find().board("kitchen")
    assert (board.ssh_config, board.python, board.workdir) == ("/mine", "./evil", "w")
    own.write_text(own.read_text().replace("pi@k", "pi@other"))  # that is another board
    with pytest.warns(NotHonoured, match="ssh_config and python"):
        assert Inventory.find().board("kitchen").ssh_config is None


def test_what_setup_learns_is_honoured_afterwards_and_the_project_stays_free_of_it(project, tmp_path, recwarn):
    shared = project / "edgeopt-devices.toml"
    shared.write_text('[devices.kitchen]\nprofile = "rpi4"\nhost = "pi@k"\n')
    ready = Board("kitchen", "rpi4", "pi@k", python="/w/venv/bin/python", workdir="w")
    assert Inventory.find().add(ready, replace=True) == shared
    assert Inventory.find().board("kitchen") == ready
    assert "python" not in shared.read_text() and 'workdir = "w"' in shared.read_text()
    assert not recwarn.list


def test_an_ssh_config_is_not_one_of_the_current_folder(project, tmp_path, monkeypatch):
    (tmp_path / "config" / "edgeopt").mkdir(parents=True)
    own = tmp_path / "config" / "edgeopt" / "devices.toml"
    own.write_text('[devices.kitchen]\nprofile = "rpi4"\nhost = "pi@k"\nssh_config = "boards"\n')
    assert Inventory.find().board("kitchen").ssh_config == str(own.parent / "boards")
    assert main(["devices", "add", "x", "--profile", "rpi4", "--host", "h", "--ssh-config", "boards"]) == 0
    assert Inventory.find().board("x").ssh_config == str(project / "boards")


def test_a_file_that_all_may_write_is_refused(project):
    path = project / "edgeopt-devices.toml"
    path.write_text(HOSTILE)
    path.chmod(0o666)
    for named in (None, path):
        with pytest.raises(UsageError, match="can be written by all users.*chmod o-w"):
            Inventory.find(named)


def test_a_file_of_another_user_is_refused_unless_it_is_named(project, monkeypatch):
    path = project / "edgeopt-devices.toml"
    path.write_text(HOSTILE)
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        monkeypatch.setattr(trust.os, "getuid", lambda: 1)
    with pytest.raises(UsageError, match="belongs to another user"):
        Inventory.find()
    assert Inventory.find(path).board("kitchen").python == "./evil"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to make another user's link")
def test_a_link_of_another_user_is_refused(project, tmp_path):
    (tmp_path / "mine.toml").write_text(HOSTILE)
    (project / "edgeopt-devices.toml").symlink_to(tmp_path / "mine.toml")
    os.lchown(project / "edgeopt-devices.toml", 65534, 65534)
    with pytest.raises(UsageError, match="belongs to another user"):
        Inventory.find()
