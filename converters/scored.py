"""The metric of files on samples with labels, in TensorFlow's interpreter: to rank files by, not to report."""

from __future__ import annotations

from dataclasses import dataclass

from ..data.dataset import Array
from ..evaluation.metrics import Metric, Outputs
from ..evaluation.scoring import value
from .outputs import Samples, file_outputs


@dataclass(frozen=True)
class Scored:
    """Samples with labels, and the metric that they are scored by.

    Attributes:
        metric: Which one.
        samples: Input name -> real values of shape (samples, ...).
        labels: As `evaluate` takes them.
        output: Name of the output that is scored; None for the only one, or for all together.
    """

    metric: Metric
    samples: Samples
    labels: Outputs | None
    output: str | None = None

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(next(iter(self.samples.values())))

    def of(self, file: bytes) -> float:
        """Return the metric of a file that has the model's names."""
        outputs = file_outputs(file, self.samples)
        if self.output is not None:
            return value(self.metric, self.labels, outputs[self.output])
        found: Array | dict[str, Array] = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        return value(self.metric, self.labels, found)

    def drop(self, file: bytes, baseline: float) -> float:
        """Return how much worse the metric of a file is than `baseline`; positive when it is worse."""
        found = self.of(file)
        return baseline - found if self.metric.higher_is_better else found - baseline
