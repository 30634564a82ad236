"""The inventory: where it is looked for, what it refuses, and that editing one board leaves the rest alone."""

from __future__ import annotations

import pytest

from edgeopt.devices.boards.inventory import Board, Inventory, project_file, user_file
from edgeopt.errors import FileFormatError, UsageError

KITCHEN = Board("kitchen", "rpi4", "pi@kitchen.local")


@pytest.fixture
def user_config(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deep")
    return tmp_path / "config" / "edgeopt" / "devices.toml"


def test_a_board_comes_back_as_it_was_added(user_config):
    board = Board("bench 1", "rpi5", "pi@10.0.0.7", 2222, "~/venv/bin/python", "/data/edgeopt", "/my config")
    assert Inventory.find().add(board) == user_config
    assert Inventory.find().board("bench 1") == board


@pytest.mark.parametrize(
    "name", ["kü che", "it's", 'a "quoted" one', "a.b", "[devices.x]", "back\\slash", "# no comment"]
)
def test_any_printable_name_survives(user_config, name):
    board = Board(name, "rpi4", "pi@h", workdir="/tmp/ü 'x\" \\")
    Inventory.find().add(board)
    Inventory.find().add(KITCHEN)
    assert Inventory.find().board(name) == board
    Inventory.find().remove(name)
    assert [found.name for found in Inventory.find().boards()] == ["kitchen"]


@pytest.mark.parametrize("name", ["", " ", "a,b", "local", "new\nline"])
def test_a_name_that_could_not_be_asked_for_is_refused(name):
    with pytest.raises(UsageError, match="expected text without a comma"):
        Board(name, "rpi4", "pi@h")


def test_an_unknown_profile_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'rpi4'"):
        Board("x", "rpi-4", "pi@h")


def test_the_projects_file_hides_the_users(user_config, tmp_path):
    Inventory.find().add(KITCHEN)
    (tmp_path / "work" / ".git").mkdir()
    (tmp_path / "work" / "edgeopt-devices.toml").write_text('[devices.kitchen]\nprofile="rpi5"\nhost="pi@other"\n')
    assert project_file() == tmp_path / "work" / "edgeopt-devices.toml"
    assert Inventory.find().board("kitchen").host == "pi@other"
    assert Inventory([user_file()]).board("kitchen").host == "pi@kitchen.local"


def test_a_given_file_is_the_only_one(user_config, tmp_path):
    Inventory.find().add(KITCHEN)
    with pytest.raises(UsageError, match=r"Unknown device 'kitchen'.*devices add"):
        Inventory.find(tmp_path / "other.toml").board("kitchen")


def test_adding_twice_needs_force_and_replaces_in_place(user_config):
    Inventory.find().add(KITCHEN)
    with pytest.raises(UsageError, match="pass --force to replace it"):
        Inventory.find().add(KITCHEN)
    changed = Board("kitchen", "rpi4", "pi@new")
    Inventory.find().add(changed, replace=True)
    assert Inventory.find().boards() == [changed]


def test_editing_keeps_comments_and_other_boards(tmp_path):
    path = tmp_path / "d.toml"
    path.write_text('# ours\n[devices.a]\nprofile = "rpi4" # four\nhost = "pi@a"\n')
    inventory = Inventory.find(path)
    inventory.add(KITCHEN)
    inventory.remove("kitchen")
    assert path.read_text().strip() == '# ours\n[devices.a]\nprofile = "rpi4" # four\nhost = "pi@a"'


def test_a_board_in_an_inline_table_is_not_damaged(tmp_path):
    path = tmp_path / "d.toml"
    path.write_text('devices = { a = { profile = "rpi4", host = "pi@a" } }\n')
    with pytest.raises(FileFormatError, match="edit it by hand"):
        Inventory.find(path).add(KITCHEN)
    assert Inventory.find(path).board("a").host == "pi@a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[devices.a", "is not TOML"),
        ("[boards.a]", "unknown key 'boards'"),
        ('[devices.a]\nprofile="rpi4"', "has no host"),
        ('[devices.a]\nprofile="rpi4"\nhost="h"\nprt=1', "did you mean 'port'"),
        ("[devices]\na = 3", "expected a table"),
    ],
)
def test_a_file_that_is_no_inventory_says_why(tmp_path, text, message):
    (tmp_path / "d.toml").write_text(text)
    with pytest.raises(FileFormatError, match=message):
        Inventory.find(tmp_path / "d.toml")


@pytest.mark.parametrize("line", ["port = 0", 'port = "22"', "host = 7", 'python = ""'])
def test_a_value_of_the_wrong_kind_is_refused(tmp_path, line):
    fields = {"profile": '"rpi4"', "host": '"h"'}
    key, value = line.split(" = ")
    fields[key] = value
    (tmp_path / "d.toml").write_text("[devices.a]\n" + "\n".join(f"{k} = {v}" for k, v in fields.items()))
    with pytest.raises(UsageError, match=r"port is 0|give it a value"):
        Inventory.find(tmp_path / "d.toml")


@pytest.mark.parametrize(
    "text",
    [
        "devices = 3",
        "devices = [1]",
        'devices = {a = "b"}',
        "[devices.a]\nprofile = [1]\nhost = 'h'",
        "[devices.a]\nprofile = 'rpi4'\nhost = {x = 1}",
        "[devices.a]\nprofile = 'rpi4'\nhost = 'h'\nport = true",
        "[devices.a]\nprofile = 'rpi4'\nhost = 'h'\nport = 22.0",
        "[devices.a]\nprofile = 'rpi4'\nhost = 'h'\nssh_config = [1, 2]",
        "[devices.a]\nprofile = 'rpi4'\nhost = 'h'\npython = \"x\\u0000\"",
        "[devices.a]\nprofile = 'rpi4'\nhost = 'h'\nworkdir = 1979-05-27",
        "x = " + "[" * 3000,
        "a." * 3000 + "a = 1",
    ],
)
def test_values_of_a_wrong_type_end_in_a_sentence(tmp_path, text):
    path = tmp_path / "devices.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match="expected|give it a value|is not TOML"):
        Inventory([path])


def test_the_home_of_nobody_is_no_obstacle(tmp_path):
    path = tmp_path / "devices.toml"
    path.write_text("[devices.a]\nprofile = 'rpi4'\nhost = 'h'\nssh_config = '~nobody-of-that-name/config'")
    assert Inventory([path]).board("a").ssh_config == str(tmp_path / "~nobody-of-that-name/config")
