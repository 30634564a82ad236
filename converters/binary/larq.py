"""Larq Compute Engine's converter, fed with a lean SavedModel: binary layers become its operators."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Mapping

from ...data.dataset import Array
from ...errors import ConversionError, one_line
from ...models.export.export import LeanModel
from ...recipes.convert import ConvertRecipe
from ..base import ConvertedFile
from ..rewrite import put_names

NAME = "larq-compute-engine"
_MODULE = "larq_compute_engine"


def require_engine() -> str:
    """Return the converter's name and version.

    Raises:
        ConversionError: It is not installed.
    """
    if importlib.util.find_spec(_MODULE) is None:
        raise ConversionError(
            f"The model has binary layers, and {NAME} is not installed: pip install 'edgeopt[binary]' (there are "
            "wheels for x86-64 Linux and Windows, and for macOS)."
        )
    return f"{NAME} {importlib.metadata.version(NAME)}"


class LarqBackend:
    """`Converter` over ``larq_compute_engine.convert_saved_model``."""

    @property
    def name(self) -> str:
        """Name and version of the converter."""
        return require_engine()

    def convert(
        self,
        lean: LeanModel,
        recipe: ConvertRecipe,
        samples: Mapping[str, Array] | None,
        held_back: Mapping[str, Array] | None = None,
        on_sample: Callable[[int, int], None] | None = None,
    ) -> ConvertedFile:
        """Convert; see `edgeopt.converters.base.Converter`. There is nothing to calibrate."""
        require_engine()
        from larq_compute_engine import convert_saved_model

        started = time.monotonic()
        try:
            made = bytes(convert_saved_model(str(lean.folder)))
        except Exception as error:  # whatever its passes raise
            raise ConversionError(f"Larq's converter failed: {one_line(str(error), 400)}") from error
        names = [item.name for item in lean.inputs], lean.output_names
        return ConvertedFile(put_names(made, *names), {"target": "arm"}, {"convert": time.monotonic() - started})
