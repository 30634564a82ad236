"""Does a file give the same numbers on two devices, and if not, from which operator on, and is that to be expected?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..artifact.envelope import envelope
from ..artifact.shown import Shown
from ..errors import CheckError, DataError, ModelError, UsageError, nearest
from ..flatbuffer import read_model
from ..flatbuffer.specs import input_specs
from ..flatbuffer.tap import Tap, with_taps
from .differences import Difference, agreement, difference, merged
from .measurement import KernelProfile, Measurement
from .measures import Measures
from .plans import RunOptions
from .runner import Progress

Array = npt.NDArray[Any]
Samples = Mapping[str, Array]

# Level -> what it asserts.
LEVELS = {
    "L1": "the same kernels: equal, bit for bit",
    "L2": "other kernels: no output further apart than a number of LSB",
    "L3": "the same answer: the classes agree",
}
# Optimised int8 kernels of x86 and Arm round differently: 1 to 8 LSB on a 36-operator network, measured.
MAX_LSB = 8
MIN_AGREEMENT = 0.98
TRACED_SAMPLES = 4


@dataclass(frozen=True)
class Limits:
    """What is asserted.

    Attributes:
        level: "L1", "L2" or "L3", as `LEVELS` explains them (default "L1").
        max_lsb: L2 holds while no output is further apart, in steps of its scale (default 8).
        min_agreement: L3 holds while at least this share of samples, in [0, 1], has the same class (default 0.98).
    """

    level: str = "L1"
    max_lsb: int = MAX_LSB
    min_agreement: float = MIN_AGREEMENT

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise UsageError(f"Unknown parity level {self.level!r}{nearest(self.level, LEVELS)}")
        if self.max_lsb < 0 or not 0 <= self.min_agreement <= 1:
            raise UsageError(
                f"max_lsb is {self.max_lsb} and min_agreement {self.min_agreement}; expected >= 0, and 0 to 1."
            )

    def options(self, options: RunOptions) -> RunOptions:
        """Return how the file is run: L1 means nothing but with the reference kernels."""
        kernels = "reference" if self.level == "L1" and options.kernels == "default" else options.kernels
        return replace(options, kernels=kernels, bench=None)


@dataclass(frozen=True)
class Side:
    """One of the two: a device, or what was recorded on one."""

    device: str
    profile: KernelProfile
    machine: str

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as JSON holds them."""
        return {"device": self.device, "machine": self.machine, "kernel_profile": self.profile.to_dict()}


@dataclass(frozen=True)
class Divergence:
    """The first operator, in execution order, whose result differs."""

    tap: Tap
    difference: Difference

    def to_dict(self) -> dict[str, object]:
        """Return the fields, as JSON holds them."""
        place = {"op": self.tap.op, "index": self.tap.operator, "tensor": self.tap.name}
        return {**place, "tensor_index": self.tap.tensor, **self.difference.to_dict()}


@dataclass(frozen=True, eq=False, repr=False)
class ParityReport(Shown):
    """What `Device.parity` found.

    Attributes:
        limits: The level that was asserted, with its limits.
        sides: Where the file was run: the first device, or the recording, and the one that is compared with it.
        difference: How far all outputs together lie apart.
        outputs: How far each output lies apart, by its name.
        agreement: Share of samples with the same class, in [0, 1]; None where no output holds scores.
        samples: Number of samples that were run, at least 1.
        first_divergence: The first operator whose result differs; None when nothing differs, or it was not traced.
        trace_note: Why it was not traced; "" if it was.
    """

    limits: Limits
    sides: tuple[Side, Side]
    difference: Difference
    outputs: Mapping[str, Difference]
    agreement: float | None
    samples: int
    first_divergence: Divergence | None = None
    trace_note: str = ""

    def shown(self) -> Mapping[str, object]:
        """Return what a prompt or a notebook shows."""
        return {
            "level": self.limits.level,
            "held": self.held,
            "samples": self.samples,
            "devices": " and ".join(side.device for side in self.sides),
            "max_lsb": self.difference.max_lsb,
            "agreement": self.agreement,
            "first_divergence": None if self.first_divergence is None else self.first_divergence.tap.op,
        }

    @property
    def held(self) -> bool:
        """Whether the level's promise holds."""
        if self.limits.level == "L1":
            return self.difference.equal
        if self.limits.level == "L2":
            return self.difference.max_lsb <= self.limits.max_lsb
        return self.agreement is not None and self.agreement >= self.limits.min_agreement

    @property
    def explained(self) -> bool | None:
        """Whether the kernel profiles explain the difference; None when there is none."""
        return None if self.difference.equal else expected_to_differ(*self.sides)[0]

    @property
    def explanation(self) -> str:
        """The reason for `explained`, as a sentence."""
        return "Nothing differs." if self.difference.equal else expected_to_differ(*self.sides)[1]

    def raise_for_parity(self) -> None:
        """Raise unless the level's promise holds.

        Raises:
            CheckError: It does not; the message says where the two part.
        """
        if self.held:
            return
        first, second = (side.device for side in self.sides)
        at = self.first_divergence
        where = "" if at is None else f", from operator {at.tap.operator} ({at.tap.op}) on"
        raise CheckError(
            f"{self.limits.level} parity of {first} and {second} does not hold: outputs up to "
            f"{self.difference.max_lsb} LSB apart{where}; {self.explanation}"
        )

    def to_dict(self) -> dict[str, object]:
        """Return the result in the JSON envelope of all verbs."""
        at = self.first_divergence
        fields = {
            "level": self.limits.level,
            "limits": dict(vars(self.limits)),
            "held": self.held,
            "samples": self.samples,
            **self.difference.to_dict(),
            "agreement": self.agreement,
            "outputs": {name: found.to_dict() for name, found in self.outputs.items()},
            "first_divergence": None if at is None else at.to_dict(),
            "trace_note": self.trace_note,
            "kernel_profiles": [side.profile.to_dict() for side in self.sides],
            "sides": [side.to_dict() for side in self.sides],
            "explained": self.explained,
            "explanation": self.explanation,
        }
        return envelope("parity", "ok" if self.held else "failed", fields)


def expected_to_differ(first: Side, second: Side) -> tuple[bool, str]:
    """Return whether two kernel profiles may give different integers, and why."""
    ours, theirs = first.profile, second.profile
    if (ours.runtime, ours.version) != (theirs.runtime, theirs.version):
        return True, f"the runtimes differ ({ours.runtime} {ours.version}, {theirs.runtime} {theirs.version})."
    if (ours.kernels, ours.delegate) != (theirs.kernels, theirs.delegate):
        return True, "the kernels or the delegates differ, and each rounds in its own way."
    if ours.kernels == "reference":
        return False, "both ran the reference kernels, which give the same integers everywhere: suspect the build."
    if first.machine != second.machine:
        return True, f"optimised kernels are written for each CPU ({first.machine}, {second.machine}) and round apart."
    return False, "both ran the same kernels on the same kind of CPU: suspect the build, the memory or the file."


def side_of(measured: Measurement) -> Side:
    """Return what is known of where a measurement was taken."""
    return Side(measured.device, measured.kernel_profile, measured.machine)


def run_parity(
    first: Measures,
    second: Measures,
    model: bytes,
    inputs: Samples,
    *,
    limits: Limits | None = None,
    options: RunOptions | None = None,
    trace: bool = True,
    on_progress: Callable[[Progress], None] | None = None,
) -> ParityReport:
    """Run samples through a model on two devices and compare; see `Device.parity`."""
    chosen = limits or Limits()
    given = chosen.options(options or RunOptions())
    ours = first.measure(model, inputs, given, on_progress=on_progress)
    # "auto" may mean another runtime there; what is compared is the device, not the runtime.
    same = replace(given, runtime=ours.kernel_profile.runtime)
    theirs = second.measure(model, inputs, same, on_progress=on_progress)
    report = compare_measurements(chosen, ours, theirs)
    if report.difference.equal or not trace:
        return report
    rows = _differing_rows(ours, theirs)
    traced, note = _trace((first, second), model, {name: array[rows] for name, array in inputs.items()}, same)
    return replace(report, first_divergence=traced, trace_note=note)


def compare_measurements(limits: Limits, ours: Measurement, theirs: Measurement) -> ParityReport:
    """Return how the outputs of two measurements of one file differ."""
    mine, other = ours.evaluated().by_name(), theirs.evaluated().by_name()
    differences = {}
    for name, output in mine.items():
        if name not in other or other[name].stored.shape != output.stored.shape:
            raise DataError(f"Output {name!r} is not the same on both sides; compare the same file and samples.")
        differences[name] = difference(output.stored, other[name].stored)
    shares = [agreement(output, other[name]) for name, output in mine.items()]
    known = [share for share in shares if share is not None]
    return ParityReport(
        limits=limits,
        sides=(side_of(ours), side_of(theirs)),
        difference=merged(list(differences.values())),
        outputs=differences,
        agreement=min(known) if known else None,
        samples=ours.evaluated().samples,
    )


def _differing_rows(ours: Measurement, theirs: Measurement) -> list[int]:
    """Return the first few samples whose outputs differ."""
    other = theirs.evaluated().by_name()
    unequal = [
        (output.stored != other[name].stored).reshape(len(output.stored), -1).any(axis=1)
        for name, output in ours.evaluated().by_name().items()
    ]
    return [int(row) for row in np.flatnonzero(np.any(unequal, axis=0))[:TRACED_SAMPLES]] or [0]


def _trace(
    devices: tuple[Measures, Measures], model: bytes, inputs: Samples, options: RunOptions
) -> tuple[Divergence | None, str]:
    """Run a file that hands out every operator's result, and return the first that differs."""
    try:
        tapped, taps = with_taps(model)
        named = {spec.tensor_name: inputs[spec.name] for spec in input_specs(read_model(model))}
        ours, theirs = (device.measure(tapped, named, options).evaluated() for device in devices)
    except (ModelError, KeyError) as error:
        return None, f"The operators could not be compared one by one: {error}"
    for tap, mine, other in zip(taps, ours.outputs, theirs.outputs, strict=True):
        found = difference(mine.stored, other.stored)
        if not found.equal:
            return Divergence(tap, found), ""
    return None, "With every result handed out, nothing differs: the runtime fuses operators when it may."
