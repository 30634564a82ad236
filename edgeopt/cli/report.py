"""``edgeopt report``: one HTML page of what was measured."""

from __future__ import annotations

from pathlib import Path

import click

from ..artifact.atomic import refuse_to_overwrite
from .output import console, next_step
from .paths import path_argument, there


@click.command()
@path_argument("sources", there("a .tflite file, JSON of a verb, or the folder of a run"),
               nargs=-1, required=True, metavar="RUN_OR_FILES...")  # fmt: skip
@click.option("-o", "--output", required=True, metavar="REPORT.html", help="The page to write.")
@click.option("--title", metavar="TEXT", help="Title of the page.")
@click.option("--force", is_flag=True, help="Replace the page if it is there.")
def command(sources: tuple[str, ...], output: str, title: str | None, force: bool) -> None:
    """Make one HTML page of what was measured: no network, no script, light and dark, to be printed.

    Takes folders that optimize wrote, JSON of validate, bench, parity, sensitivity and inspect, and .tflite files,
    whose sidecars are read with them.
    """
    refuse_to_overwrite(output, force)
    from ..pages.report import report

    made = report(sources, title=title).save(output, force=force)
    console().print(f"Wrote {made} ({made.stat().st_size / 1024:.0f} KiB).", markup=False)
    _print_next(sources)


def _print_next(sources: tuple[str, ...]) -> None:
    """Say what to run next: the archive of the one file that was shown, or what sets several side by side."""
    files = [source for source in sources if source.endswith(".tflite")]
    evidence = [word for source in sources if source.endswith(".json") for word in ("--evidence", source)]
    if len(files) == 1:
        next_step("bundle", files[0], "-o", Path(files[0]).with_suffix(".zip"), *evidence, "--data", "TEST_DATA")
    else:
        next_step("compare", *sources, why="side by side; --device BOARD times them there, in turns")
