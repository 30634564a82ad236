"""What the words on a command line mean, where several verbs take the same."""

from __future__ import annotations

import click

from ..errors import UsageError
from ..recipes.convert import IMAGE_SCALINGS
from .output import Function


def image_options(function: Function) -> Function:
    """Add ``--image-size`` and ``--image-scaling`` to a command, which say how a folder of images is read."""
    size = click.option("--image-size", metavar="HxW", help="Size for a folder of images, such as 96x96.")
    scaling = click.option(
        "--image-scaling",
        default=next(iter(IMAGE_SCALINGS)),
        show_default=True,
        metavar="|".join(IMAGE_SCALINGS),
        help="Pixel values of a folder of images.",
    )
    return size(scaling(function))


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
