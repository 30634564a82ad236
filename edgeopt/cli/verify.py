"""``edgeopt verify``: whether an archive of bundle is whole, and its file still answers as it did."""

from __future__ import annotations

from pathlib import Path

import click

from .devices import devices_option
from .output import console, json_option, next_step, wants_text
from .paths import path_argument, there
from .progress import live


@click.command()
@path_argument("archive", there("an archive of edgeopt bundle"), metavar="BUNDLE.zip")
@click.option("--device", metavar="NAME", help="Replay the golden vectors there.")
@devices_option
@click.option("--level", default="L1", show_default=True, metavar="L1|L2|L3", help="What parity is to hold.")
@json_option
def command(archive: str, device: str | None, inventory: str | None, level: str, json_path: str | None) -> None:
    """Check each file of an archive by its SHA-256 and, with --device, what the model answers there (exit 4 if not)."""
    from ..devices.parity import Limits
    from ..pages.bundle import GOLDEN, verify

    with live("verifying"):
        found = verify(archive, device=device, inventory=inventory, limits=Limits(level))
    if wants_text(found.to_dict, json_path):
        out = console()
        out.print(f"{archive}: {len(found.files)} files are as they were bundled", markup=False)
        if found.parity is not None:
            held = "holds" if found.parity.held else "does not hold"
            out.print(f"{found.parity.limits.level} {held} on {found.parity.sides[1].device}", markup=False)
    if found.parity is not None:
        found.parity.raise_for_parity()
    if json_path == "-":
        return
    if found.parity is None and GOLDEN in found.files:
        next_step("verify", archive, "--device", "BOARD", why="whether its file answers there as it did")
    else:
        folder = Path(archive).with_suffix("")
        next_step("-m", "zipfile", "-e", archive, folder, program="python3", why="run_on_board.py in it runs the file")
