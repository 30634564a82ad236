"""Models that hold the ranges of their activations: those of quantisation-aware training, edgeopt's or TFMOT's."""

from __future__ import annotations

import re
from collections.abc import Sequence

# edgeopt.passes.qat.layers puts the first behind every input; the others are TFMOT's.
_OWN = "QuantizedTensor"
_TFMOT = ("QuantizeLayer", "QuantizeWrapper", "QuantizeWrapperV2")
_IN_FILE = re.compile(rf'"class_name":\s*"(?:\w+>)?({"|".join((_OWN, *_TFMOT))})"')


def carries_ranges(layers: Sequence[tuple[str, str]]) -> bool:
    """Whether a model with these layers (name, class) needs no calibration, and takes no other quantisation."""
    return any(kind == _OWN or kind in _TFMOT for _, kind in layers)


def wrappers_in(config_text: str) -> str:
    """Return who made the quantised layers in the configuration of a model file: ``edgeopt``, ``tfmot`` or ""."""
    found = _IN_FILE.search(config_text)
    if found is None:
        return ""
    return "edgeopt" if found.group(1) == _OWN else "tfmot"
