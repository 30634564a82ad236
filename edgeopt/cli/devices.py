"""``edgeopt devices``: the inventory of boards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .output import Function, console, json_option, next_step
from .progress import live

if TYPE_CHECKING:
    from ..devices.readiness import Line

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def devices_option(function: Function) -> Function:
    """Add ``--devices FILE`` to a command."""
    text = "The inventory, in place of edgeopt-devices.toml of the project and devices.toml of the user."
    return click.option("--devices", "inventory", metavar="FILE", help=text)(function)


def runtime_option(function: Function) -> Function:
    """Add ``--runtime`` to a command."""
    text = (
        "auto: ai_edge_litert where it loads (it gives int8 to XNNPACK), then tflite_runtime; for .onnx onnxruntime; "
        "larq_compute_engine runs binary layers."
    )
    kinds = "auto|tflite_runtime|ai_edge_litert|onnxruntime|larq_compute_engine"
    return click.option("--runtime", default="auto", show_default=True, metavar=kinds, help=text)(function)


@click.group()
def command() -> None:
    """Name the boards that files are measured on, check them, and make them ready."""


@command.command()
@click.argument("name")
@click.option(
    "--profile",
    required=True,
    metavar="KIND",
    help="The kind of board, such as rpi4 (`edgeopt devices list` names all).",
)
@click.option("--host", required=True, metavar="USER@HOST", help="As ssh takes it.")
@click.option("--port", type=int, metavar="N", help="Of the SSH server.")
@click.option("--python", default="python3", show_default=True, metavar="PATH", help="The Python there to use.")
@click.option("--workdir", metavar="FOLDER", help="edgeopt's own folder there.  [default: .cache/edgeopt]")
@click.option("--ssh-config", metavar="FILE", help="Another ssh_config than yours.")
@click.option("--force", is_flag=True, help="Replace the device if it is there.")
@devices_option
@json_option
def add(name: str, inventory: str | None, force: bool, json_path: str | None, **fields: Any) -> None:
    """Add a board to the inventory; it is asked whether the work folder there is free, or edgeopt's, if it answers."""
    from ..api.devices import add_device
    from ..devices.boards.inventory import Board

    if fields["ssh_config"] is not None:
        fields["ssh_config"] = str(Path(fields["ssh_config"]).expanduser().absolute())
    board = Board(name, **{key: value for key, value in fields.items() if value is not None})
    path = add_device(board, inventory, replace=force)
    result = {"device": name, **board.to_dict(), "file": str(path)}
    _finish("add", result, json_path, f"Added {name} to {path}.")
    _print_next("setup", name, inventory, json_path)


@command.command("list")
@devices_option
@json_option
def list_(inventory: str | None, json_path: str | None) -> None:
    """List the boards of the inventory, and the kinds of board that are known."""
    from ..devices.boards.inventory import Inventory
    from ..devices.boards.profile import load_profile, profile_names

    found = Inventory.find(inventory)
    boards = [{"device": b.name, **b.to_dict(), "file": str(found.place(b.name))} for b in found.boards()]
    kinds = {name: load_profile(name).title for name in profile_names()}
    lines = [f"{item['device']}: {item['profile']} at {item['host']} ({item['file']})" for item in boards]
    lines += [f"not usable: {why}." for why in found.refused()]
    lines = lines or ["No boards yet."]
    lines += ["", "Profiles:", *(f"  {name}: {title}" for name, title in kinds.items())]
    _finish("list", {"devices": boards, "profiles": kinds}, json_path, "\n".join(lines))
    if boards:
        _print_next("check", str(boards[0]["device"]), inventory, json_path)
    else:
        _print_next("add", "NAME", inventory, json_path, "--profile", "rpi4", "--host", "USER@HOST")


@command.command()
@click.argument("name")
@devices_option
@json_option
def show(name: str, inventory: str | None, json_path: str | None) -> None:
    """Show a board, and what is known of its kind, with sources; also takes the name of a profile."""
    from ..devices.boards.inventory import LOCAL, Inventory
    from ..devices.boards.profile import load_profile, profile_names

    found = Inventory.find(inventory)
    result: dict[str, Any] = {"device": name}
    if name not in profile_names() or name in [board.name for board in found.boards()]:
        board = found.board(name)
        result.update(board.to_dict(), file=str(found.place(name)))
    profile = load_profile(result.get("profile", name))
    result["profile"] = profile.to_dict()
    lines = [f"{key}: {value}" for key, value in result.items() if key != "profile"]
    lines += [f"profile: {profile.name}, {profile.title}"]
    lines += [f"  {key}: {fact.value}  [{fact.source}]" for key, fact in profile.facts.items()]
    lines += [f"  note: {note.text}  [{note.source}]" for note in profile.notes]
    _finish("show", result, json_path, "\n".join(lines))
    if "host" in result:
        _print_next("check", name, inventory, json_path)
    elif name != LOCAL:
        _print_next("add", "NAME", inventory, json_path, "--profile", name, "--host", "USER@HOST")


@command.command()
@click.argument("name")
@devices_option
@json_option
def remove(name: str, inventory: str | None, json_path: str | None) -> None:
    """Take a board out of the inventory; the board itself is not touched (see clean)."""
    from ..devices.boards.inventory import Inventory

    path = Inventory.find(inventory).remove(name)
    _finish("remove", {"device": name, "file": str(path)}, json_path, f"Removed {name} from {path}.")
    _print_next("list", None, inventory, json_path)


@command.command()
@click.argument("name")
@devices_option
@json_option
def check(name: str, inventory: str | None, json_path: str | None) -> None:
    """Check that a board is ready: reached, Python, runtimes, disk, clock, throttling, accelerator (exit 5 if not)."""
    from ..api.devices import check_device
    from ..artifact.envelope import envelope, write_json
    from ..errors import DeviceError

    out = console()

    def say(line: Line) -> None:
        text = f"{line.status:4}  {line.name}: {line.found}" + (f"; {line.remedy}" if line.remedy else "")
        out.print(text, style=_STYLES[line.status], markup=False)

    lines = check_device(name, inventory, None if json_path == "-" else say)
    failed = [line.name for line in lines if line.status == "fail"]
    if json_path is not None:
        fields = {"device": name, "lines": [line.to_dict() for line in lines]}
        write_json(envelope("devices-check", "failed" if failed else "ok", fields), json_path)
    if not failed and json_path != "-":
        where = [] if inventory is None else ["--devices", inventory]
        next_step("validate", "FILE.tflite", "--data", "TEST_DATA", "--device", name, *where)
    if failed:
        raise DeviceError(f"Device {name} is not ready ({', '.join(failed)}); see the remedies above.")


@command.command()
@click.argument("name")
@click.option("--runtime", metavar="ai-edge-litert|tflite-runtime", help="Default: the best that fits the board.")
@click.option("--wheelhouse", metavar="FOLDER", help="Send wheels from this folder, for a board without internet.")
@click.option("--python", metavar="PATH", help="The Python there to start from.  [default: python3]")
@click.option("--adopt", is_flag=True, help="Take over a work folder of an older edgeopt, which has no mark.")
@devices_option
@json_option
def setup(name: str, json_path: str | None, **options: Any) -> None:
    """Make a virtual environment on a board, with NumPy and the runtime that fits its Python, glibc and CPU."""
    from ..api.devices import set_up_device

    with live(f"setting up {name}") as display:
        board, installed = set_up_device(name, say=display.say, **options)
    text = f"{name} is ready: {installed.runtime.package} {installed.runtime.version} in {installed.python}"
    _finish("setup", {"device": name, **board.to_dict(), **installed.to_dict()}, json_path, text)
    _print_next("check", name, options["inventory"], json_path)


@command.command()
@click.argument("name")
@click.option("--all", "everything", is_flag=True, help="Remove the whole work folder, with the environment of setup.")
@devices_option
@json_option
def clean(name: str, inventory: str | None, everything: bool, json_path: str | None) -> None:
    """Remove what runs have left in the folder that edgeopt made on a board; nothing else is ever touched."""
    from ..api.devices import clean_device

    folders = clean_device(name, inventory, everything=everything)
    _finish("clean", {"device": name, "removed": folders}, json_path, "Removed " + ", ".join(folders))
    _print_next("setup" if everything else "check", name, inventory, json_path)


def _print_next(verb: str, name: str | None, inventory: str | None, json_path: str | None, *more: str) -> None:
    if json_path != "-":
        where = [] if inventory is None else ["--devices", inventory]
        next_step("devices", verb, *([] if name is None else [name]), *more, *where)


def _finish(verb: str, fields: dict[str, Any], json_path: str | None, text: str) -> None:
    """Write the JSON envelope where it is wanted, and the text where stdout is free."""
    from ..artifact.envelope import envelope, write_json

    if json_path is not None:
        write_json(envelope(f"devices-{verb}", "ok", fields), json_path)
    if json_path != "-":
        console().print(text, markup=False)
