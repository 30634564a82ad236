"""How near the outputs of an exported file are to the outputs of the model that it was made from.

A file can be int8 through and through and give noise: one scale for values of very different ranges, a mask of -1e9
inside the graph, a few outliers. Whether it does is seen in its outputs alone, so these are compared with the model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..artifact.typed import Unfit, fitted
from .tango import share_interval

Array = npt.NDArray[Any]
Reals = npt.NDArray[np.float64]

# Where the outputs are equal, the ratio has no limit: this says "equal as far as float32 goes".
EQUAL_DB = 150.0
# Below it, the noise is a sixth of the signal or more. Files of known models lie at 17 to 45 dB; those that lose more
# than a point of accuracy without a word of the converter's lie below.
FLOOR_DB = 15.0
# At least this share of the samples has the model's class, as far as the number of samples can tell.
FLOOR_SAME_CLASS = 0.9
# A channel whose whole signal is smaller than this many steps of the output is lost ...
LOST_STEPS = 2
# ... and the output with it, when so large a share of its channels is (a class that no sample has is no loss).
_LOST_SHARE = 0.05
# The scales that TFLite fixes for SOFTMAX, LOGISTIC and TANH, in 8 and 16 bits: all channels have one unit there.
_FIXED_SCALES = frozenset({2.0**-8, 2.0**-7, 2.0**-15})
_FEW_ROWS = 8
_STILL = (
    "which proves nothing; calibrate with real samples, prepared as for training; if these are, the output needs more "
    "than eight bits (--quantize int16x8)"
)


def snr_db(expected: npt.ArrayLike, got: npt.ArrayLike) -> float:
    """Return the signal-to-noise ratio ``10 log10(sum(signal^2) / sum((expected - got)^2))`` in decibels.

    The signal is how each value of `expected` moves about its mean over the samples: an offset that all samples share,
    such as the place of an anchor box, carries no information. Of fewer than 8 samples it is how the values move about
    their channel's mean (the last axis), and of fewer than 8 rows `expected` itself. At most `EQUAL_DB`; values that
    are not finite in `got` count as noise as large as the values, and such in `expected`, which have no size, are left
    out.

    Args:
        expected: What the model gives, of shape (samples, ..., channels) or (samples,).
        got: What the file gives, in the same unit and shape.
    """
    values, found = _finite(expected, got)
    return _ratio_db(float(np.sum(_signal(values) ** 2)), float(np.sum((values - found) ** 2)))


def signal_energy(expected: npt.ArrayLike) -> float:
    """Return the sum of the squares of the signal, as `snr_db` takes it."""
    values, _ = _finite(expected, expected)
    return float(np.sum(_signal(values) ** 2))


@dataclass(frozen=True)
class OutputFidelity:
    """One output of a file beside the model's.

    Attributes:
        name: The output's.
        snr_db: Signal to noise over all channels, see `snr_db`.
        worst_channel: The channel (index in the last axis) of the least ratio.
        worst_channel_db: Its ratio.
        max_error: The largest absolute difference, in the output's unit.
        max_error_steps: The same in steps of the output's scale; None for an output that is not quantised.
        same_class: Share of rows, in [0, 1], whose largest channel is the same; None with a single channel.
        of_classes: Whether the model's values are probabilities of classes: each row sums to 1.
        lost_channels: Channels whose whole signal is below two steps of the output's scale.
        reasons: Why the output is not the model's, as words; empty where it is.
        signal_steps: How far the model's values move over the samples, as the root of the mean square of the signal
            (see `snr_db`), in steps of the output's scale; None for an output that is not quantised.
    """

    name: str
    snr_db: float
    worst_channel: int
    worst_channel_db: float
    max_error: float
    max_error_steps: float | None
    same_class: float | None
    of_classes: bool
    lost_channels: tuple[int, ...]
    reasons: tuple[str, ...]
    signal_steps: float | None = None

    @property
    def still(self) -> bool:
        """Whether the model's values move so little that the output cannot show whether the file is right."""
        return self.snr_db < FLOOR_DB and self.signal_steps is not None and self.signal_steps < 1


@dataclass(frozen=True)
class Cause:
    """Where the values of a file part from the model's.

    Attributes:
        op: Name of the operator.
        index: Its position in the execution order of the file.
        layer: The layer of the Keras model that it comes from; "" where its name does not tell.
        tensor: Name of its result.
        scale: Scale of its result.
        snr_db: Of its result; None where the model has no such tensor.
        kind: ``mask`` (a mask's constant), ``input`` (channels of very different spans in what it is given), ``joined``
            (the same in what it joins), ``outliers`` or ``ranges`` (anything else).
        remedy: What helps, as a phrase.
    """

    op: str
    index: int
    layer: str
    tensor: str
    scale: float
    snr_db: float | None
    kind: str
    remedy: str

    def __str__(self) -> str:
        layer = f" of layer {self.layer!r}" if self.layer else ""
        ratio = "" if self.snr_db is None else f", {self.snr_db:.1f} dB after it"
        return f"{self.op}{layer} (operator {self.index}, scale {self.scale:.3g}{ratio})"


@dataclass(frozen=True)
class Fidelity:
    """How near a file's outputs are to the model's.

    Attributes:
        outputs: One entry an output, in the file's order.
        samples: On how many samples they were compared, at least 1.
        held_back: Whether these samples made no ranges of the file.
        cause: Where the values part; None where the file holds, or where it is not known.
    """

    outputs: tuple[OutputFidelity, ...]
    samples: int
    held_back: bool
    cause: Cause | None = None

    @property
    def snr_db(self) -> float:
        """Signal to noise of the worst output."""
        return min(output.snr_db for output in self.outputs)

    @property
    def holds(self) -> bool:
        """Whether all outputs are the model's, as far as the floors of this module say."""
        return not any(output.reasons for output in self.outputs)

    @property
    def still(self) -> bool:
        """Whether nothing but outputs that do not move keeps it from holding: the samples prove nothing then."""
        return not self.holds and all(output.still for output in self.outputs if output.reasons)

    @property
    def verdict(self) -> str:
        """The verdict of a conversion: "ok", "not proven" by these samples, or "unfaithful"."""
        return "ok" if self.holds else "not proven" if self.still else "unfaithful"

    def warnings(self) -> list[str]:
        """Return a warning when an output is not the model's: what is wrong, where it begins, and what helps."""
        if self.holds:
            return []
        wrong = "; ".join(
            f"output {output.name!r}: {', '.join(output.reasons)}" for output in self.outputs if output.reasons
        )
        if self.still:
            return [f"fidelity: {wrong}, {_STILL}"]
        where = "" if self.cause is None else f"; it begins at {self.cause}: {self.cause.remedy}"
        return [f"fidelity: the file's outputs are not the model's ({wrong}){where}"]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, as JSON holds them."""
        return {"snr_db": self.snr_db, "holds": self.holds, "verdict": self.verdict, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fidelity:
        """Return what `to_dict` wrote.

        Raises:
            Unfit: It is not of that form.
        """
        table = fitted(dict[str, object], values, "fidelity")
        own = {name: value for name, value in table.items() if name not in ("snr_db", "holds", "verdict")}
        found: Fidelity = fitted(cls, own, "fidelity")
        if not found.outputs:
            raise Unfit("fidelity has no outputs")
        return found


def verdict_of(verdict: str, fidelity: Fidelity | None) -> str:
    """Return a verdict; "unfaithful" in place of "ok" for a file whose outputs are not the model's."""
    unfaithful = fidelity is not None and fidelity.verdict == "unfaithful"
    return "unfaithful" if verdict == "ok" and unfaithful else verdict


def remedy_of(fidelity: Fidelity | None, otherwise: str) -> str:
    """Return what helps a file that missed its budget: first of all outputs that are the model's."""
    if fidelity is None or fidelity.holds:
        return otherwise
    if fidelity.cause is None:
        return "the outputs are not the model's: convert it with calibration data, which names the cause"
    return f"the outputs are not the model's, from {fidelity.cause} on: {fidelity.cause.remedy}"


def output_fidelity(name: str, expected: Array, got: Array, scale: float | None) -> OutputFidelity:
    """Compare one output with the model's.

    Args:
        name: The output's.
        expected: What the model gives, of shape (samples, ..., channels) or (samples,).
        got: What the file gives, in real values of the same shape.
        scale: The output's scale in the file; None for one that is not quantised.
    """
    whole, others = _finite(expected, got)
    signal, values, found = (_by_channel(array) for array in (_signal(whole), whole, others))
    if np.asarray(expected).dtype.kind in "iub":
        return _of_integers(name, values, found)
    noise = values - found
    powers = list(zip((signal**2).sum(axis=0).tolist(), (noise**2).sum(axis=0).tolist(), strict=True))
    ratios = [_ratio_db(*pair) for pair in powers]
    worst = int(np.argmin(ratios))
    overall = _ratio_db(sum(power for power, _ in powers), sum(power for _, power in powers))
    several = values.shape[1] > 1
    same = float(np.mean(values.argmax(axis=1) == found.argmax(axis=1))) if several else None
    of_classes = several and bool(np.all(values >= -1e-3) and np.allclose(values.sum(axis=1), 1, atol=1e-2))
    lost = _lost(values, scale)
    largest = float(np.max(np.abs(noise), initial=0.0))
    reasons = []
    if overall < FLOOR_DB:
        reasons.append(f"{overall:.1f} dB of signal to noise, under {FLOOR_DB:g}")
    if of_classes and same is not None and share_interval(same * len(values), len(values))[1] < FLOOR_SAME_CLASS:
        reasons.append(f"the class is the model's on {same:.0%} of the samples")
    if len(lost) > _LOST_SHARE * values.shape[1]:
        reasons.append(f"{len(lost)} of {values.shape[1]} channels lost, their signal being under {LOST_STEPS} steps")
    made = OutputFidelity(
        name=name,
        snr_db=overall,
        worst_channel=worst,
        worst_channel_db=ratios[worst],
        max_error=largest,
        max_error_steps=None if scale is None else largest / scale,
        same_class=same,
        of_classes=of_classes,
        lost_channels=lost,
        reasons=tuple(reasons),
        signal_steps=None if scale is None else float(np.sqrt(np.mean(signal**2))) / scale,
    )
    if not made.still:
        return made
    return replace(made, reasons=(f"over these samples the model's values move by {made.signal_steps:.2g} steps",))


def _of_integers(name: str, values: Array, found: Array) -> OutputFidelity:
    """Compare an output of integers, such as the number of a class: they are the model's, or they are not."""
    same = float(np.mean(values == found))
    ratio, largest = snr_db(values, found), float(np.max(np.abs(values - found), initial=0.0))
    low = share_interval(same * values.size, values.size)[1] < FLOOR_SAME_CLASS
    reasons = (f"{same:.0%} of its integers are the model's",) if low else ()
    return OutputFidelity(name, ratio, 0, ratio, largest, None, same, True, (), reasons)


def compare_outputs(
    expected: Mapping[str, Array], got: Mapping[str, Array], scales: Sequence[float | None], *, held_back: bool
) -> Fidelity:
    """Compare all outputs of a file with the model's.

    Args:
        expected: Output name -> what the model gives, of shape (samples, ...).
        got: The same of the file, in the file's order.
        scales: The scale of each output in the file, in its order.
        held_back: Whether the samples made no ranges.
    """
    outputs = tuple(
        output_fidelity(name, expected[name], values, scale)
        for (name, values), scale in zip(got.items(), scales, strict=True)
    )
    return Fidelity(outputs, len(next(iter(got.values()))), held_back)


def _finite(expected: npt.ArrayLike, got: npt.ArrayLike) -> tuple[Reals, Reals]:
    """Return both with 0 for what is not finite, see `snr_db`."""
    values, found = (np.asarray(array, np.float64) for array in (expected, got))
    known = np.isfinite(values)
    return np.where(known, values, 0.0), np.where(known & np.isfinite(found), found, 0.0)


def _by_channel(values: Reals) -> Reals:
    """Return (rows, channels), a single axis being one channel."""
    return values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)


def _signal(values: Reals) -> Reals:
    if len(values) >= _FEW_ROWS:
        return np.asarray(values - values.mean(axis=0))
    rows = _by_channel(values)
    mean = rows.mean(axis=0) if len(rows) >= _FEW_ROWS else np.zeros(rows.shape[1])
    signal: Reals = (rows - mean).reshape(values.shape)
    return signal


def _ratio_db(signal: float, noise: float) -> float:
    if noise <= signal * 10 ** (-EQUAL_DB / 10):
        return EQUAL_DB
    return max(-EQUAL_DB, 10 * float(np.log10(signal / noise))) if signal > 0 else -EQUAL_DB


def _lost(values: Reals, scale: float | None) -> tuple[int, ...]:
    if scale is None or scale in _FIXED_SCALES or values.shape[1] == 1:
        return ()
    spans = np.ptp(values, axis=0)
    return tuple(int(channel) for channel in np.flatnonzero((spans > 0) & (spans < LOST_STEPS * scale)))
