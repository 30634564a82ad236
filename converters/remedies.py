"""What would help an operator that costs much as int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..data.dataset import Array
from ..evaluation.sensitivity import EQUALISE, FLOAT, QAT, RANGES, REPAIR, OperatorSensitivity

_NOISY = 0.05  # share of the noise under which there is nothing to gain
_CLEAN_DB = 40.0  # an operator that leaves the outputs so near to the model's needs no help
MIXED_INPUT = 64.0  # times the typical span of a channel: what is narrower has two bits left of eight
_MIXED_RESULT = 8.0  # five bits
OUTLIER = 4.0  # times the 99.9th percentile of the magnitudes
_SATURATED = 5e-3
_CHEAP = 0.05  # of all multiply-accumulates
_JOINING = frozenset({"CONCATENATION", "PACK"})
WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})


class Advice(NamedTuple):
    """A remedy and what it is in words."""

    remedy: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Found:
    """What is known of an operator's values in the float file.

    Attributes:
        result: What it gives, of shape (samples, ..., channels).
        inputs: What it is given, without constants.
        weighted: For each of these, whether an operator with weights made it.
        mask: The constant of a mask that sets the scale of its result; None without one.
    """

    result: Array
    inputs: Sequence[Array]
    weighted: Sequence[bool] = ()
    mask: float | None = None


def advise(row: OperatorSensitivity, found: Found, ranges: str) -> Advice:
    """Return what would help an operator.

    Args:
        row: What it costs.
        found: Its values.
        ranges: By which method the file's ranges were found.
    """
    if found.mask is not None:
        return Advice(REPAIR, f"a mask's constant near {found.mask:.0e} sets the scale; mask with -100 instead")
    if row.op in _JOINING and (ratio := _spread(found.inputs)) >= MIXED_INPUT:
        return Advice(
            REPAIR,
            f"one scale for joined parts whose spans differ {ratio:.0f} times; give the parts as outputs of their own, "
            "or let the edge stay float (--edges auto)",
        )
    if row.noise_share < _NOISY or row.only_int8_db >= _CLEAN_DB:
        return Advice()
    others = [values for values, weighted in zip(found.inputs, found.weighted, strict=True) if not weighted]
    mixed = max((mixture(values) for values in others), default=1.0)
    if mixed >= MIXED_INPUT:
        return Advice(
            REPAIR,
            f"one scale for channels whose spans differ {mixed:.0f} times; normalise outside the model, give what "
            "differs as inputs of their own, or let the edge stay float (--edges auto)",
        )
    if ranges == "minmax" and row.outliers >= OUTLIER:
        return Advice(
            RANGES,
            f"a few values {row.outliers:.1f} times larger than the rest set the scale; use --ranges best, with more "
            "samples than calibrate",
        )
    if row.saturated > _SATURATED and ranges == "minmax":
        return Advice(RANGES, f"{row.saturated:.1%} of its values lie outside its range; give more calibration samples")
    mixed = mixture(found.result)
    if row.op in WEIGHTED and mixed >= _MIXED_RESULT:
        return Advice(
            EQUALISE,
            f"one scale for channels whose spans differ {mixed:.0f} times: equalise its weights with those of the "
            "layer after it, which --recover does where no other reads it, or leave it float",
        )
    given = [values for values, weighted in zip(found.inputs, found.weighted, strict=True) if weighted]
    mixed = max((mixture(values) for values in given), default=1.0)
    if row.op in WEIGHTED and mixed >= _MIXED_RESULT:
        return Advice(
            EQUALISE,
            f"it is given one scale for channels whose spans differ {mixed:.0f} times: equalise its weights with those "
            "of the layer before it, which --recover does where no other reads that one, or leave it float",
        )
    if row.macs_share <= _CHEAP:
        return Advice(FLOAT, f"it is {row.macs_share:.1%} of the work: leave it float (--float-ops)")
    return Advice(
        QAT,
        "it is a large part of the work: let its bias and rounding be put right (--recover), or train "
        "with quantisation in mind (edgeopt optimize, pass qat)",
    )


def _spread(parts: Sequence[Array]) -> float:
    """Return how many times the widest part's span is that of the narrowest that moves."""
    spans = [span for part in parts if (span := float(np.ptp(part))) > 0]
    return max(spans) / min(spans) if spans else 1.0


def mixture(values: Array) -> float:
    """Return how many times the widest channel's span is that of the median one, of those that move."""
    if values.ndim < 2:
        return 1.0
    spans = np.ptp(values.reshape(-1, values.shape[-1]), axis=0)
    spans = spans[spans > 0]
    return float(spans.max() / np.median(spans)) if spans.size else 1.0


def outlier_ratio(values: Array) -> float:
    """Return the largest magnitude as a multiple of the 99.9th percentile of the magnitudes."""
    magnitudes = np.abs(values).ravel()
    usual = float(np.quantile(magnitudes, 0.999)) if magnitudes.size else 0.0
    return float(magnitudes.max()) / usual if usual > 0 else 1.0
