"""``edgeopt demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .output import console, json_option, next_step, wants_text
from .progress import live

if TYPE_CHECKING:
    from ..api.demo import DemoResult

_MEANING = (
    "Zeros make the zip smaller, not the file, and not the time. The last two files had more epochs of training, "
    "which by itself moves their accuracy; what int8 itself costs is the difference between float32 and int8."
)


@click.command()
@click.option("--dataset", default="digits", show_default=True, metavar="digits|watch", help="What to train on.")
@click.option(
    "-o", "--output", default="edgeopt-demo", show_default=True, metavar="FOLDER", help="Where the files are left."
)
@click.option("--seed", default=0, show_default=True, metavar="N", help="Of the training.")
@click.option("--force", is_flag=True, help="Write into the folder although it is not empty.")
@json_option
def command(dataset: str, output: str, seed: int, force: bool, json_path: str | None) -> None:
    """Train a small Keras model on embedded data, convert, prune and train it quantised; compare the files here."""
    from ..api.demo import demo

    with live("loading TensorFlow and the data") as display:
        step, stage = display.now, display.say
        result = demo(output, dataset=dataset, seed=seed, force=force, on_step=step, on_stage=stage)
    if wants_text(result.to_dict, json_path):
        _print(result)
        folder = result.folder
        next_step("validate", f"{folder}/best/model.tflite", "--data", f"{folder}/test.npz", "--baseline",
                  f"{folder}/model.keras")  # fmt: skip


def _print(result: DemoResult) -> None:
    from rich import box
    from rich.table import Table

    from ..evaluation.figures import figure, interval_ends

    profile = result.rows[-1].kernel_profile
    out = console()
    out.print(
        f"{result.dataset}: {result.facts.test} test samples, {result.facts.parameters:,} parameters", markup=False
    )
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)  # 80 columns wide at the most
    for heading in ("file", "KiB", "zipped", "zeros", "epochs", "accuracy", "95 % interval", "p50 ms"):
        table.add_column(heading, justify="left" if heading == "file" else "right", no_wrap=True)
    for row in result.rows:
        low, high = interval_ends(row.accuracy_ci95)
        table.add_row(
            row.variant,
            f"{row.size_bytes / 1024:.1f}",
            f"{row.gzip_bytes / 1024:.1f}",
            f"{row.sparsity:.0%}",
            str(row.epochs),
            figure(row.accuracy, row.accuracy_ci95),
            f"{low}-{high}",
            figure(row.latency_ms["p50"]),
        )
    out.print(table)
    out.print(
        f"Measured on this machine, not on a board: {profile['runtime']} {profile['version']}, "
        f"{profile['threads']} thread(s), delegate {profile['delegate']}.",
        markup=False,
    )
    out.print(_MEANING, markup=False)
    out.print(
        f"The cheapest file that loses at most a point, {result.folder}/best/{result.best.file}: {result.best.reason}.",
        style="bold",
        markup=False,
    )
    for line in result.best.budget:
        out.print(f"On {result.best.final['samples']:,} samples that chose nothing: {line}.", markup=False)
    out.print(f"The model, the data, the files and their evidence are in {result.folder}/.", markup=False)
