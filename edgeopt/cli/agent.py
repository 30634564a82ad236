"""``edgeopt agent``."""

from __future__ import annotations

import hashlib
import os

import click

from ..artifact.envelope import envelope
from .output import console, json_option, next_step, readable_bytes, wants_text


@click.command()
@click.option(
    "-o", "--output", default="edgeopt-agent.pyz", show_default=True, metavar="FILE.pyz", help="The file to write."
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
def command(output: str, force: bool, json_path: str | None) -> None:
    """Write the on-device benchmark script: one file that needs Python 3.7, NumPy and a TFLite runtime.

    Copy it to a board and run `python3 edgeopt-agent.pyz bench model.tflite --inputs x.npy --labels y.npy`.
    """
    from ..artifact.atomic import refuse_to_overwrite, write_atomically
    from ..devices import pack_agent
    from ..devices.agent.protocol import PROTOCOL_VERSION

    refuse_to_overwrite(output, force)
    packed = pack_agent()
    write_atomically(output, packed)
    digest = hashlib.sha256(packed).hexdigest()
    fields = {"agent": output, "size_bytes": len(packed), "sha256": digest, "protocol": PROTOCOL_VERSION}
    if wants_text(lambda: envelope("agent", "ok", fields), json_path):
        console().print(f"{output}, {readable_bytes(len(packed))}, SHA-256 {digest}", markup=False)
        words = ("bench", "model.tflite", "--inputs", "x.npy", "--labels", "y.npy")
        next_step(os.path.basename(output), *words, program="python3", why="on the board, with these copied there")
