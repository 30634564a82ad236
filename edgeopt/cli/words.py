"""What the words on a command line mean, where several verbs take the same."""

from __future__ import annotations

from collections.abc import Callable

import click

from ..errors import UsageError
from ..recipes.convert import IMAGE_RESIZES, IMAGE_SCALINGS
from .paths import Function

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def image_options(function: Function) -> Function:
    """Add ``--image-size``, ``--image-scaling`` and ``--resize`` to a command: how a folder of images is read.

    Without them each is None: convert then takes its own defaults, validate what the file was calibrated with, and
    optimize what its recipe says.
    """
    size = click.option(
        "--image-size",
        metavar="HxW",
        help="Size for a folder of images, such as 96x96; by default the first image's.",
    )
    scaling = click.option(
        "--image-scaling",
        metavar="|".join(IMAGE_SCALINGS),
        help=f"Pixel values of a folder of images; by default {next(iter(IMAGE_SCALINGS))}.",
    )
    resize = click.option(
        "--resize",
        "image_resize",
        metavar="|".join(IMAGE_RESIZES),
        help=f"How a folder's images are resized; by default {next(iter(IMAGE_RESIZES))}, as Keras does.",
    )
    return size(scaling(resize(function)))


def budget_options(function: Function) -> Function:
    """Add the limits of a budget to a command, each None where it is not given, and ``--proven``."""
    for option in reversed(
        (
            click.option(
                "--max-drop",
                "--max-accuracy-drop",
                type=float,
                metavar="X",
                help="Budget: the metric's drop from the baseline, such as 0.01.",
            ),
            click.option("--min-metric", type=float, metavar="X", help="Budget: the least value of the metric."),
            click.option(
                "--max-p95-ms",
                type=float,
                metavar="X",
                help="Budget: 95th percentile of the latency, in milliseconds.",
            ),
            click.option("--max-size-bytes", type=int, metavar="N", help="Budget: size of the file."),
            click.option(
                "--max-memory-bytes",
                type=int,
                metavar="N",
                help="Budget: the file and its arena, as planned or measured.",
            ),
            click.option(
                "--proven", is_flag=True, help="Exit 4 also when the interval leaves open whether the budget is kept."
            ),
        )
    ):
        function = option(function)
    return function


def metric_options(*names: str, when: str = "") -> Callable[[Function], Function]:
    """Return what adds ``--metric``, and ``--output-name`` under these names, to a command: what is scored.

    Args:
        names: Of the second option.
        when: Where they count, as the beginning of their help.
    """
    metric = click.option(
        "--metric",
        default="accuracy",
        show_default=True,
        metavar="accuracy|top5|auc|mae|mse|module:callable",
        help=f"{when}what to score." if when else "What to score.",
    )
    output = click.option(
        *names,
        "output_name",
        metavar="NAME",
        help=f"{when}the output to score, of several." if when else "The output to score, of a model with several.",
    )
    return lambda function: metric(output(function))


def parse_seconds(text: str | None) -> float | None:
    """Return the seconds in ``90``, ``90s``, ``30m`` or ``2h``; None for None.

    Raises:
        UsageError: Not of that form, or nothing.
    """
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"Received --time-limit {text!r}; expected a time such as 90s, 30m or 2h.")
    return seconds


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of ``96x96`` or ``96``; None for None.

    Raises:
        UsageError: Not of that form.
    """
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and (width.isdigit() or not width)) or int(height) < 1 or int(width or 1) < 1:
        raise UsageError(f"Received --image-size {text!r}; expected HEIGHTxWIDTH, such as 96x96.")
    return int(height), int(width or height)


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Return the name and the shape in ``NAME=1,96,96,3``.

    Raises:
        UsageError: The form is wrong, or a size is less than 1.
    """
    name, equals, sizes = text.partition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not equals or not name or not shape or any(size < 1 for size in shape):
        raise UsageError(f"Received --input-shape {text!r}; expected NAME=1,96,96,3 with sizes of at least 1.")
    return name, shape
