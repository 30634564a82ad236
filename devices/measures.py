"""What measures: all that timing, comparing and recording need of a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from .measurement import Measurement
from .plans import RunOptions
from .runner import Progress


class Measures(Protocol):
    """A device, or what stands for one: it runs a file and brings the numbers back."""

    def measure(
        self,
        model: bytes,
        inputs: Mapping[str, npt.NDArray[Any]] | None = None,
        options: RunOptions | None = None,
        *,
        against: bytes | None = None,
        evaluate: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Measurement:
        """Time a file, run samples through it, or both; see `Device.measure`."""
