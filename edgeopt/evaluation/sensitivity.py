"""What each operator of an int8 file costs: found by making it, and it alone, float or int8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..artifact.envelope import envelope
from ..artifact.shown import Shown
from ..artifact.typed import fitted

# Remedies, in the order in which they are looked for.
REPAIR, RANGES, EQUALISE, FLOAT, QAT = "repair", "ranges", "equalise", "float", "qat"


@dataclass(frozen=True)
class MetricEffect:
    """The metric of the whole model when one operator is the exception.

    Attributes:
        only_float: That operator is float, all others are int8.
        only_int8: That operator is int8, all others are float.
    """

    only_float: float
    only_int8: float


@dataclass(frozen=True)
class OperatorSensitivity:
    """What one operator costs; ratios are signal to noise, in decibels, against the float model.

    Attributes:
        op: Its name.
        index: Its position in the float file that was calibrated.
        layer: The layer of the Keras model that it comes from; "" where its name does not tell.
        tensor: Full name of its result.
        macs_share: Its share of all multiply-accumulates, in [0, 1].
        noise_share: Its share of what all operators alone put into the outputs, in [0, 1].
        snr_db: Of its result in the int8 file: quantised up to here. None where it cannot be told.
        here_db: Of its result when only it is int8. None where it cannot be told.
        only_int8_db: Of the worst output when only it is int8.
        only_float_db: Of the worst output when only it is float.
        low: The least value of its result on the samples.
        high: The greatest.
        outliers: The largest magnitude as a multiple of the 99.9th percentile's.
        saturated: Share of its values that lie outside what its int8 range holds, in [0, 1].
        metric: What that does to the metric; None without data.
        remedy: ``repair``, ``ranges``, ``equalise``, ``float`` or ``qat``; "" where there is nothing to gain.
        advice: The remedy in words.
    """

    op: str
    index: int
    layer: str
    tensor: str
    macs_share: float
    noise_share: float
    snr_db: float | None
    here_db: float | None
    only_int8_db: float
    only_float_db: float
    low: float
    high: float
    outliers: float
    saturated: float
    metric: MetricEffect | None = None
    remedy: str = ""
    advice: str = ""


@dataclass(frozen=True)
class MetricValues:
    """The metric of the whole model.

    Attributes:
        name: Which one.
        higher_is_better: Whether a larger value is better.
        float_value: Of the float file.
        int8_value: Of the int8 file.
        samples: On how many samples.
    """

    name: str
    higher_is_better: bool
    float_value: float
    int8_value: float
    samples: int


@dataclass(frozen=True, repr=False)
class SensitivityReport(Shown):
    """What each operator of a model costs as int8, worst first.

    Attributes:
        snr_db: Signal to noise of the int8 file's worst output.
        verdict: As that of a conversion (`Fidelity.verdict`).
        samples: How many samples judged.
        held_back: Whether these made no ranges.
        ranges: By which method the ranges were found.
        operators: Those that can be int8: what is to be repaired, then by what each alone puts into the outputs.
        metric: Of the float and of the int8 file; None without data.
        warnings: What else is to be said.

    Example:
        >>> edgeopt.sensitivity(model, calibration=images).operators[0].layer
        'block_1_depthwise'
    """

    snr_db: float
    verdict: str
    samples: int
    held_back: bool
    ranges: str
    operators: tuple[OperatorSensitivity, ...]
    metric: MetricValues | None = None
    warnings: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the outputs are the model's."""
        return self.verdict == "ok"

    def shown(self) -> Mapping[str, object]:
        """Return what a prompt or a notebook shows: the file, and its worst operators."""
        worst = {
            f"{row.index}_{row.op}": f"{row.layer or row.tensor}: {row.remedy or '-'}" for row in self.operators[:5]
        }
        return {"snr_db": self.snr_db, "holds": self.holds, "samples": self.samples, "ranges": self.ranges, **worst}

    def to_dict(self) -> dict[str, Any]:
        """Return the report in the JSON envelope of all verbs; the verdict is as that of ``convert``."""
        fields = asdict(self)
        return envelope("sensitivity", fields.pop("verdict"), {"holds": self.holds, **fields})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SensitivityReport:
        """Return the report whose fields another process wrote.

        Raises:
            Unfit: They are not of that form.
        """
        found: SensitivityReport = fitted(cls, dict(values), "sensitivity")
        return found
