"""How near the outputs of an exported file are to the outputs of the model that it was made from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Where the outputs are equal, the ratio has no limit: this says "equal as far as float32 goes".
EQUAL_DB = 150.0


def snr_db(expected: npt.ArrayLike, got: npt.ArrayLike) -> float:
    """Return the signal-to-noise ratio ``10 log10(sum(expected^2) / sum((expected - got)^2))`` in decibels.

    At most `EQUAL_DB`; values that are not finite in `got` count as noise as large as the signal.

    Args:
        expected: What the model gives, of any shape.
        got: What the file gives, in the same unit and shape.
    """
    signal, found = np.asarray(expected, np.float64), np.asarray(got, np.float64)
    noise = np.where(np.isfinite(found), signal - found, signal)
    power, lost = float(np.sum(signal**2)), float(np.sum(noise**2))
    if lost <= power * 10 ** (-EQUAL_DB / 10):
        return EQUAL_DB
    return 10 * float(np.log10(power / lost)) if power > 0 else -EQUAL_DB
