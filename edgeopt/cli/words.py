"""What the words on a command line mean, where several verbs take the same."""

from __future__ import annotations

import click

from ..errors import UsageError
from ..recipes.convert import IMAGE_RESIZES, IMAGE_SCALINGS
from .output import Function


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
