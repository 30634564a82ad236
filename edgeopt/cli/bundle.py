"""``edgeopt bundle``: a file with all that proves it, in one archive."""

from __future__ import annotations

import click

from .output import console, next_step, readable_bytes
from .paths import DATA, FILE, path_argument, there
from .progress import live


@click.command()
@path_argument("file", FILE, metavar="FILE.tflite")
@click.option("-o", "--output", required=True, metavar="OUT.zip", help="The archive to write.")
@click.option("--data", type=DATA, metavar="DATA", help="Record golden vectors of some of these samples.")
@click.option("--samples", default=20, show_default=True, metavar="N", help="How many.")
@click.option("--evidence", multiple=True, type=there("JSON of a verb"), metavar="JSON",
              help="What validate, bench... wrote of it; may be repeated.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the archive if it exists.")
def command(file: str, output: str, data: str | None, samples: int, evidence: tuple[str, ...], force: bool) -> None:
    """Put FILE.tflite into an archive with sidecar, board snippet, agent, evidence, report, and golden vectors."""
    from ..pages.bundle import bundle

    with live("bundling"):
        made = bundle(file, output, data=data, samples=samples, evidence=evidence, force=force)
    console().print(f"Wrote {made} ({readable_bytes(made.stat().st_size)}).", markup=False)
    next_step("verify", str(made), *(["--device", "BOARD"] if data else []))
