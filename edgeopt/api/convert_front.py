"""A conversion that begins at a layer: the front of the model is cut off, and the samples go through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..data.dataset import Array, Dataset
from ..errors import UsageError
from ..models.detect import Flavour
from ..models.load import describe
from ..models.spec import InputSpec, LoadedModel

if TYPE_CHECKING:
    from ..models.rewrite.front import Cut

_TRIED = 64


@dataclass
class Front:
    """The part of a model that a file leaves to whoever reads the data.

    Attributes:
        whole: The model as it was loaded.
        cut: Its two parts.
        tried: On how many samples the Python of the sidecar was compared with the layers.
        differs: It gave something else there.
    """

    whole: LoadedModel
    cut: Cut
    tried: int = 0
    differs: bool = False

    def samples(self, data: Dataset, inputs: Sequence[InputSpec]) -> dict[str, Array]:
        """Return samples for the file's inputs: the data themselves, if named so, else what the front makes of them.

        Args:
            data: Samples of the model's inputs, or of the file's.
            inputs: The file's inputs.
        """
        names = [item.name for item in inputs]
        if set(names) <= set(data.names):
            return bound(data, inputs)
        raw = bound(data, self.whole.spec.inputs)
        few = {name: array[:_TRIED] for name, array in raw.items()}
        if self.cut.steps is not None and not self.tried:
            self.tried, self.differs = len(next(iter(few.values()))), not self.cut.proven(few)
        made = {**raw, **self.cut.run(raw)}
        return {name: made[name] for name in names}

    def to_dict(self) -> dict[str, object]:
        """Return the sidecar's ``front``."""
        cut = self.cut
        if self.differs:
            cut = replace(cut, steps=None, unknown=tuple((step["layer"], step["class"]) for step in cut.steps or ()))
        return {**cut.to_dict(), "tried_on_samples": self.tried}

    def warnings(self) -> list[str]:
        """Say what is to be done where the data are read."""
        unknown = [f"{item['layer']!r} ({item['class']})" for item in self.to_dict()["unknown"]]  # type: ignore[attr-defined]
        if not unknown:
            return []
        return [
            f"front: the file's inputs are what the layers in front give; {', '.join(unknown)} of these are not in the "
            "sidecar as Python, so do that part where the data are read"
        ]


def begin_at(model: LoadedModel, layers: Sequence[str]) -> tuple[LoadedModel, Front]:
    """Return the model from some layers on, and its front.

    Raises:
        UsageError: The model is a SavedModel, or a name is none of its layers.
        ModelError: It is no graph of layers.
    """
    from ..models.rewrite.front import cut_front

    if model.flavour is Flavour.SAVED_MODEL:
        raise UsageError(
            f"{model.source} is a SavedModel, which holds no layers to begin at; give the .keras or .h5 file."
        )
    cut = cut_front(model.model, layers)
    return describe(cut.rest, source=model.source), Front(model, cut)


def bound(data: Dataset, inputs: Sequence[InputSpec]) -> dict[str, Array]:
    """Return the samples by input name, checked against the inputs."""
    names, shapes = [item.name for item in inputs], [item.shape for item in inputs]
    strings = [item.name for item in inputs if item.dtype == "string"]
    return {name: np.asarray(array) for name, array in data.bind(names, shapes, strings).items()}
