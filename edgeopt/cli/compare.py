"""``edgeopt compare``: files and runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..artifact.atomic import refuse_to_overwrite, write_atomically
from .devices import devices_option, runtime_option
from .output import console, json_option, next_step, wants_text
from .paths import path_argument, there
from .progress import live

if TYPE_CHECKING:
    from ..pages.compare import Compared

_STYLES = {"good": "green", "bad": "red"}


@click.command()
@path_argument("files", there("a .tflite file, or the folder of a run"), nargs=-1, required=True, metavar="A B...")
@click.option("--device", metavar="NAME[,NAME]", help="Time every file there, in turns with the first.")
@devices_option
@runtime_option
@click.option("--threads", default=1, show_default=True, metavar="N", help="Threads of one inference.")
@click.option(
    "--seconds", type=float, default=10.0, show_default=True, metavar="S", help="Time a pair at most this long."
)
@json_option
@click.option("--csv", "csv_path", metavar="PATH|-", help="Also write the table as CSV (- for stdout).")
@click.option("--html", "html_path", metavar="PATH", help="Also write an HTML page.")
@click.option("--force", is_flag=True, help="Let --csv and --html replace a file.")
def command(
    files: tuple[str, ...],
    device: str | None,
    inventory: str | None,
    runtime: str,
    threads: int,
    seconds: float,
    json_path: str | None,
    csv_path: str | None,
    html_path: str | None,
    force: bool,
) -> None:
    """Put files side by side; say what is better or worse than the first beyond doubt.

    Takes what report takes: .tflite files, JSON of validate and bench, whose figures are added to their files, and
    folders of optimize, each of whose files is one.
    """
    for path in (csv_path, html_path):
        if path is not None and path != "-":
            refuse_to_overwrite(path, force)
    from ..api.devices import device_names
    from ..devices import BenchPlan
    from ..pages.compare import compare

    names = None if device is None else device_names(device, inventory)
    plan = BenchPlan(min_seconds=min(2.0, seconds), max_seconds=seconds)
    with live("reading the files") as display:
        found = compare(
            files,
            device=names,
            inventory=inventory,
            runtime=runtime,
            threads=threads,
            plan=plan,
            on_progress=display.progress,
        )
    if csv_path == "-":
        click.echo(found.to_csv(), nl=False)
    elif csv_path is not None:
        write_atomically(csv_path, found.to_csv().encode())
    if html_path is not None:
        write_atomically(html_path, found.html().encode())
    if wants_text(found.to_dict, json_path) and csv_path != "-":
        _print(found)
        if names is None:
            next_step("compare", *files, "--device", "BOARD", why="which is faster, timed in turns")
        else:
            next_step("report", *files, "-o", "REPORT.html")


def _print(found: Compared) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from ..errors import printable
    from ..pages.compare import NOTE, table_of

    shown = table_of(found.comparison)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in shown.columns:
        table.add_column(printable(name), overflow="fold")
    for row in shown.rows:
        cells = []
        for cell in row:
            text = f"{cell.sign} {cell.text}".strip() + (f"\n{cell.detail}" if cell.detail else "")
            cells.append(Text("\n".join(map(printable, text.split("\n"))), style=_STYLES.get(cell.mark, "")))
        table.add_row(*cells)
    out = console()
    out.print(table)
    out.print(NOTE, markup=False)
