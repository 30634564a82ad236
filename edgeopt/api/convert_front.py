"""A conversion of a part of a model: its ends are cut off, and the samples go through the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.dataset import Array, Dataset
from ..devices.agent.front import run_steps
from ..errors import UsageError
from ..models.detect import Flavour
from ..models.load import describe
from ..models.spec import InputSpec, LoadedModel

if TYPE_CHECKING:
    from ..models.rewrite.front import Cut

_TRIED = 64
_NOTHING = (
    "edges: 'prepared' was asked for, but no input mixes features, and no output parts or columns, of different "
    "ranges that can be scaled outside of the file; the file takes and gives what the model does"
)
_TRAINED = (
    "edges: 'prepared' was asked for, but the model was trained quantised, with one scale for each of its inputs and "
    "outputs; the file takes and gives what the model does. Where these mix ranges, take the ends off before the "
    "training: train a model of the layers between them, on data that are normalised first"
)


@dataclass
class Ends:
    """The parts of a model that a file leaves to its user.

    Attributes:
        whole: The model as it was loaded.
        cut: Its parts.
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
        # The same lines as wherever the file is used, so that its samples are known again.
        steps = None if self.differs else self.cut.steps
        made = {**raw, **(self.cut.run(raw) if steps is None else run_steps(steps, raw))}
        return {name: made[name] for name in names}

    def front(self) -> dict[str, Any] | None:
        """Return the sidecar's ``front``."""
        found = self.cut.front()
        if found is None:
            return None
        if self.differs:
            unknown = [{"layer": step["layer"], "class": step["class"]} for step in self.cut.steps or ()]
            found = {**found, "layers": None, "unknown": unknown}
        return {**found, "tried_on_samples": self.tried}

    def warnings(self) -> list[str]:
        """Say what is to be done where the data are read."""
        front = self.front() or {"unknown": ()}
        unknown = [f"{item['layer']!r} ({item['class']})" for item in front["unknown"]]
        if not unknown:
            return []
        return [
            f"front: the file's inputs are what the layers in front give; {', '.join(unknown)} of these are not in the "
            "sidecar as Python, so do that part where the data are read"
        ]


def begin_at(model: LoadedModel, layers: Sequence[str]) -> tuple[LoadedModel, Ends]:
    """Return the model from some layers on, and its front.

    Raises:
        UsageError: The model is a SavedModel, or a name is none of its layers.
        ModelError: It is no graph of layers.
    """
    from ..models.rewrite.front import cut_front

    _require_layers(model, "begin at")
    cut = cut_front(model.model, layers)
    return describe(cut.rest, source=model.source), Ends(model, cut)


def without_ends(model: LoadedModel, data: Dataset | None) -> tuple[LoadedModel, Ends | None, list[str]]:
    """Return the model without what one integer scale cannot serve at its ends, these ends, and warnings.

    Args:
        model: The model.
        data: Samples of its inputs, which say where that is; None for a model that was trained quantised.

    Raises:
        UsageError: The model is a SavedModel.
        ModelError: It is no graph of layers.
    """
    from ..converters.narrow import bits_left
    from ..models.rewrite.ends import cut_ends

    _require_layers(model, "take off")
    if data is None:
        return model, None, [_TRAINED]
    cut = cut_ends(model.model, bound(data, model.spec.inputs), bits_left)
    if cut is None:
        return model, None, [_NOTHING]
    return describe(cut.rest, source=model.source), Ends(model, cut), []


def _require_layers(model: LoadedModel, purpose: str) -> None:
    if model.flavour is Flavour.SAVED_MODEL:
        raise UsageError(
            f"{model.source} is a SavedModel, which holds no layers to {purpose}; give the .keras or .h5 file."
        )


def bound(data: Dataset, inputs: Sequence[InputSpec]) -> dict[str, Array]:
    """Return the samples by input name, checked against the inputs."""
    names, shapes = [item.name for item in inputs], [item.shape for item in inputs]
    strings = [item.name for item in inputs if item.dtype == "string"]
    return {name: np.asarray(array) for name, array in data.bind(names, shapes, strings).items()}
