"""Choose the ranges of an int8 file: by the method that was asked for, or by which file's outputs are the nearest.

To choose, a file is quantised with the ranges of each method, from one float file, and run on samples that made none of
the ranges. So few samples seldom tell the methods apart, so one stands until it is beaten: the percentile, which is the
best or nearly so for most models; or minimum and maximum, TensorFlow's own, where what the percentile cuts off is
seen to matter. Another is taken where it is better beyond noise: on the typical sample by more than twice the standard
error of its gain, and over all samples together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..data.dataset import Array
from ..evaluation.fidelity import EQUAL_DB, signal_energy
from .outputs import Samples, count_of, file_outputs, spread
from .quantise import Quantise, quantising
from .ranges import Calibration, faster_calibration
from .reference import SAMPLES, Reference
from .repairs.repairing import Repairing
from .rewrite import put_names
from .weight_bias import WeightBias

MINMAX = "minmax"
PERCENTILE = "percentile"
BEST = "best"
_VALUES = 1 << 19  # looked at in each tensor, over all samples
_VALUES_A_SAMPLE = (256, 8192)
LEAST_SAMPLES = 20  # that can be split into some that make and some that judge
_FITTING = 32  # samples whose means are taken
_PART = 5  # without samples held back, every fifth judges
_BEYOND_NOISE = 2.0  # standard errors
_LOST_DB = 3.0  # over all samples together: what the percentile cut off is missed on a few of them

Errors = npt.NDArray[np.float64]
Names = tuple[Sequence[str], Sequence[str]]


@dataclass(frozen=True)
class RangePlan:
    """How the ranges are to be found.

    Attributes:
        method: ``minmax``, ``percentile``, ``mse`` or ``best``.
        values: How many values of a tensor are counted in a sample.
        order: In which order the groups of samples are measured.
        first_part: So many of them make the ranges that are judged on the others; 0 where others judge, or none.
        shown: Input name -> samples that files are held against the float file on.
        judges: So many of them, the first, choose; 0 for no choice.
        held_back: Whether `shown` are others than the ones that make the ranges of the file.
        fitting: Input name -> samples that judge nothing, for means; None where there is nothing to choose by.
    """

    method: str
    values: int
    order: Sequence[int]
    first_part: int
    shown: Samples
    judges: int
    held_back: bool
    fitting: Samples | None = None


def plan_ranges(method: str, samples: Samples, held_back: Samples | None, batch: int) -> RangePlan:
    """Say how the ranges of a file are to be found.

    Args:
        method: What is asked for.
        samples: Input name -> samples that make the ranges.
        held_back: Others in the same form; None for none.
        batch: How many go into the file at a time.
    """
    count = count_of(samples)
    groups = -(-count // batch)
    low, high = _VALUES_A_SAMPLE
    values = 0 if method == MINMAX else min(high, max(low, _VALUES // groups))
    last = judging_part(groups)
    if method != BEST or held_back is not None or count < LEAST_SAMPLES or not last:
        shown = _some(samples, range(count), SAMPLES) if held_back is None else held_back
        judges = count_of(shown) if method == BEST and held_back is not None else 0
        fitting = _some(samples, range(count), _FITTING) if judges else None
        return RangePlan(method, values, range(groups), 0, shown, judges, held_back is not None, fitting)
    first = [group for group in range(groups) if group not in set(last)]
    rows = [row for row in range(count) if row // batch in set(last)]
    others = [row for row in range(count) if row // batch not in set(last)]
    judging, more = _some(samples, rows, SAMPLES), _some(samples, others, SAMPLES - min(len(rows), SAMPLES))
    shown = {name: np.concatenate([array, more[name]]) for name, array in judging.items()}
    judges = min(len(rows), SAMPLES)
    fitting = _some(samples, others, _FITTING)
    return RangePlan(method, values, [*first, *last], len(first), shown, judges, False, fitting)


def _some(samples: Samples, rows: Sequence[int], most: int) -> dict[str, Array]:
    """Return at most so many of some samples, spread over them."""
    chosen = [rows[place] for place in spread(len(rows), most)]
    return {name: np.asarray(array[chosen]) for name, array in samples.items()}


def judging_part(groups: int) -> list[int]:
    """Return which of so many groups of samples judge where none are held back: every fifth."""
    return [group for group in range(groups) if group % _PART == _PART - 1]


@dataclass(frozen=True)
class Candidate:
    """How near a file's outputs are to the float file's.

    Attributes:
        snr_db: Signal to noise over all samples.
        gain_db: How many dB more than with minimum and maximum, in the mean over the samples.
        noise_db: The standard error of that.
    """

    snr_db: float
    gain_db: float
    noise_db: float


@contextmanager
def choosing_ranges(
    plan: RangePlan,
    names: Names,
    finish: Callable[[RangeChoice, bytes, Quantise], bytes],
    repairs: Sequence[Repairing],
    quantiser: Callable[..., bytes] | None = None,
) -> Iterator[RangeChoice]:
    """Let the converter calibrate and quantise by a plan for as long as the context lasts.

    Args:
        plan: How the ranges are to be found.
        names: Of the model's inputs and of its outputs.
        finish: Gets the choice, the file that it made, and the quantiser; returns the file to go on with.
        repairs: See `faster_calibration`.
        quantiser: Another one than TensorFlow's, see `quantising`.
    """
    with faster_calibration(plan.values, plan.first_part, repairs) as calibration:
        choice = RangeChoice(plan, calibration, names)

        def made(file: bytes, quantise: Quantise) -> bytes:
            found = choice.quantise(file, quantise)
            return finish(choice, found, choice.corrected(quantise))

        with quantising(made, quantiser):
            yield choice


class RangeChoice:
    """Quantises an annotated file with the ranges of a plan, and remembers which they were and why."""

    def __init__(self, plan: RangePlan, calibration: Calibration, names: Names) -> None:
        """Prepare; `calibration` is where the converter's calibration leaves what it measured."""
        self.calibration = calibration
        self._plan, self._names = plan, names
        self.used, self.why = MINMAX, ""
        self.candidates: dict[str, Candidate] = {}
        self.seconds = 0.0
        self.annotated = b""  # what the file was made of
        self.bias: Candidate | None = None  # what correcting biases for the rounding of weights gives
        self._correction: WeightBias | None = None
        self._files: dict[bytes, bytes] = {}

    @cached_property
    def float_file(self) -> bytes:
        """The float file that was calibrated, with the model's names; once the calibration has begun."""
        return put_names(self.calibration.content or b"", *self._names)

    @cached_property
    def reference(self) -> Reference:
        """What the float file gives for samples, for this choice and for whoever comes after it."""
        return Reference(self.float_file, self._plan.shown, held_back=self._plan.held_back)

    @property
    def calibrated_file(self) -> bytes:
        """The float file as it was quantised, with what was repaired and with the model's names."""
        changes = self.calibration.changes
        content = changes[-1].content if changes else self.calibration.content or b""
        return put_names(self.annotated or content, *self._names)

    @property
    def folded(self) -> bool:
        """Whether a picture's normalisation was folded into the float file."""
        return any(change.kind == "picture" for change in self.calibration.changes)

    def quantise(self, annotated: bytes, quantise: Quantise) -> bytes:
        """Return the quantised file (see `quantising`)."""
        self.annotated = self._chosen(annotated, quantise)
        return self._files.pop(self.annotated, None) or self.corrected(quantise)(self.annotated)

    def corrected(self, quantise: Quantise) -> Quantise:
        """Return what quantises any annotated file as the chosen one is: with corrected biases, if these are better."""
        if self._correction is None:
            return quantise
        correction = self._correction
        return lambda annotated, **changes: correction.taken_off(quantise(annotated, **changes))

    def _chosen(self, annotated: bytes, quantise: Quantise) -> bytes:
        """Return the file with the ranges that it is quantised with."""
        meter, plan = self.calibration.meter, self._plan
        if plan.method == MINMAX:
            return annotated
        if meter is None:
            self.why = "a loop, a variable, a fused LSTM or a custom operator leaves measuring to TensorFlow"
            return annotated
        if plan.method != BEST:
            self.used = plan.method
            return meter.annotated(meter.ranges(plan.method))
        if not plan.judges:
            self.why = f"there are fewer than {LEAST_SAMPLES} samples to choose by"
            return annotated
        started = time.monotonic()
        trials = self.calibration.earlier or meter.all_ranges()
        candidates = {method: meter.annotated(ranges) for method, ranges in trials.items()}
        files = {method: quantise(candidate) for method, candidate in candidates.items()}
        errors = self._judge(files)
        file = self._with_biases(candidates[self.used], files[self.used], errors[self.used])
        self._files = {candidates[self.used]: file}
        self.seconds = time.monotonic() - started
        return meter.annotated(meter.ranges(self.used))

    def to_dict(self) -> dict[str, object]:
        """Return what the sidecar says of the ranges."""
        judges = count_of(self._judges) if self.candidates else None
        return {
            "asked": self._plan.method,
            "used": self.used,
            "why": self.why,
            "samples": judges,
            "held_back": None if judges is None else self._plan.held_back,
            "candidates": {name: vars(found) for name, found in self.candidates.items()},
            "biases": None if self.bias is None else {"kept": self._correction is not None, **vars(self.bias)},
        }

    def _judge(self, files: Mapping[str, bytes]) -> dict[str, Errors]:
        errors = {method: self._errors(file) for method, file in files.items()}
        self.candidates = compare(errors)
        self.used, self.why = choose(errors)
        return errors

    def _with_biases(self, annotated: bytes, file: bytes, errors: Errors) -> bytes:
        """Return the file with biases corrected for the rounding of weights, if it is better than without."""
        fitting = self._plan.fitting
        if fitting is None:
            return file
        correction = WeightBias(put_names(annotated, *self._names), fitting, but_first=self.folded)
        made = correction.taken_off(file)
        found = compare({"before": errors, "after": self._errors(made)}, base="before")
        self.bias = found["after"]
        if not better(found["after"], found["before"]):
            return file
        self._correction = correction
        return made

    def _errors(self, file: bytes) -> Errors:
        expected = {name: values[: self._plan.judges] for name, values in self.reference.expected.items()}
        return sample_errors(expected, file_outputs(put_names(file, *self._names), self._judges))

    @property
    def _judges(self) -> Samples:
        return {name: values[: self._plan.judges] for name, values in self.reference.samples.items()}


def sample_errors(expected: Mapping[str, Array], got: Mapping[str, Array]) -> Errors:
    """Return each sample's squared error as a part of the mean energy of the signal, added up over the outputs.

    Args:
        expected: Output name -> real values of shape (samples, ...); the signal is that of `snr_db`.
        got: The same of another file; values that are not finite count as errors as large as the values.
    """
    total: Errors = np.zeros(len(next(iter(expected.values()))))
    for name, values in expected.items():
        signal = values.reshape(len(total), -1).astype(np.float64)
        found = np.asarray(got[name], np.float64).reshape(signal.shape)
        power = signal_energy(values) / len(total)
        if power > 0:
            total += np.sum(np.where(np.isfinite(found), found - signal, signal) ** 2, axis=1) / power
    return total


def compare(errors: Mapping[str, Errors], base: str = MINMAX) -> dict[str, Candidate]:
    """Hold the errors of each method against those of one of them, sample by sample."""
    least = 10 ** (-EQUAL_DB / 10)
    decibels = {method: -10 * np.log10(np.maximum(found, least)) for method, found in errors.items()}
    candidates = {}
    for method, found in errors.items():
        gain = decibels[method] - decibels[base]
        noise = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        total = -10 * np.log10(max(float(found.mean()), least))
        candidates[method] = Candidate(float(total), float(gain.mean()), float(noise))
    return candidates


def choose(errors: Mapping[str, Errors]) -> tuple[str, str]:
    """Return the method whose outputs are to be expected the best, and why.

    Args:
        errors: Method -> each sample's error, of `minmax` and `percentile` at least; see `sample_errors`.
    """
    found = compare(errors)
    lost = found[MINMAX].snr_db - found[PERCENTILE].snr_db
    standing = MINMAX if lost > _LOST_DB else PERCENTILE
    beside = compare(errors, base=standing)
    winners = [method for method in errors if better(beside[method], beside[standing])]
    used = max(winners, key=lambda method: beside[method].snr_db, default=standing)
    if used != standing:
        gain = beside[used]
        return used, f"{gain.gain_db:.1f} dB better than {standing} (standard error {gain.noise_db:.1f})"
    if used == MINMAX:
        return used, f"what the percentile cuts off is missed: {lost:.1f} dB worse over all samples"
    return used, "no other method is better beyond noise"


def better(candidate: Candidate, standing: Candidate) -> bool:
    """Say whether a file is better beyond noise than what its gain is over, and over all samples no worse."""
    return candidate.gain_db > _BEYOND_NOISE * candidate.noise_db and candidate.snr_db >= standing.snr_db
