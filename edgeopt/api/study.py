"""What else is done with a calibrated float file while it is converted, as a part of the request to the child."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.dataset import Dataset, load_dataset
from ..errors import UsageError
from ..evaluation.metrics import check_output, load_metric
from ..evaluation.scoring import require_labels
from ..models.export.export import LeanModel
from ..process.request import Request
from ..recipes.convert import ConvertRecipe
from .written import WrittenLabels, WrittenSamples

if TYPE_CHECKING:
    from ..converters.scored import Scored

_SAMPLES_FILE = "test.npz"
_LABELS_FILE = "labels.npz"


@dataclass(frozen=True)
class Labelled:
    """Samples with labels, and what they are scored by.

    Attributes:
        metric: Name of the metric, or ``module:callable``.
        output: Name of the output to be scored; None for the only one.
        path: Where the samples lie; None for those that lay in memory.
        samples: These.
        labels: Their labels; None without any.
    """

    metric: str
    output: str | None
    path: str | None
    samples: WrittenSamples | None = None
    labels: WrittenLabels | None = None

    @classmethod
    def write(cls, data: Any, metric: str | Callable[[Any, Any], float], output: str | None, folder: Path) -> Labelled:
        """Write samples that lie in memory to `folder`; a path stays one.

        Raises:
            UsageError: The metric is not known, or no name.
        """
        if not isinstance(metric, str):
            raise UsageError("The metric is a function, which another process cannot be given; name it: module:NAME.")
        load_metric(metric)
        if isinstance(data, (str, os.PathLike)):
            return cls(metric, output, os.fspath(data))
        found = load_dataset(data)
        labels = None if found.labels is None else WrittenLabels.write(found.labels, folder / _LABELS_FILE)
        return cls(metric, output, None, WrittenSamples.write(found, folder / _SAMPLES_FILE), labels)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Labelled:
        """Return what `to_dict` of a request made of it."""
        samples, labels = values["samples"], values["labels"]
        read = {
            "samples": None if samples is None else WrittenSamples(**samples),
            "labels": None if labels is None else WrittenLabels(**labels),
        }
        return cls(**{**values, **read})

    def read(self, lean: LeanModel, recipe: ConvertRecipe) -> Scored:
        """Return the samples, bound to a model's inputs, with the metric.

        Raises:
            UsageError: The samples, their labels, the metric and the model do not go together.
        """
        from ..converters.scored import Scored

        metric = load_metric(self.metric)
        check_output(metric, self.output, lean.output_names)
        found = self._dataset(recipe)
        labels = require_labels(metric, found.labels_of(self.output, lean.output_names))
        samples = found.bind([item.name for item in lean.inputs], [item.shape for item in lean.inputs])
        return Scored(metric, samples, labels, self.output)

    def _dataset(self, recipe: ConvertRecipe) -> Dataset:
        if self.samples is None:
            names = ("image_size", "image_scaling", "image_resize")
            return load_dataset(self.path, **{name: getattr(recipe, name) for name in names})
        found = self.samples.read()
        labels = None if self.labels is None else self.labels.read()
        return Dataset(found.arrays, found.names, labels, found.source, found.note)


@dataclass(frozen=True)
class Study(Request):
    """What else is asked of a conversion.

    Attributes:
        sensitivity: Say what each operator costs.
        labelled: Samples with labels; None for none.
        work: Path of the folder that finished steps of `recover` are kept in; None for none.
    """

    sensitivity: bool = False
    labelled: Labelled | None = None
    work: str | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Study:
        """Return the study that `to_dict` gave."""
        labelled = values["labelled"]
        return cls(values["sensitivity"], None if labelled is None else Labelled.from_dict(labelled), values["work"])


NOTHING = Study()
