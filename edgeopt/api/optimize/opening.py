"""What `edgeopt.optimize` and its forecast begin with: the data read, the model loaded, and the two fitting."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ...process.isolation import OnEvent
from ...recipes.optimize import OptimizeRecipe
from .data import RunData, check_outputs, check_recipe_data
from .loss import loss_for


@dataclass(frozen=True)
class Given:
    """What a run is given beside its recipe or budget, as `edgeopt.optimize` takes each."""

    model: Any
    train: Any
    validation: Any
    calibration: Any
    test: Any
    loss: Any
    custom_objects: Sequence[str]
    unsafe_load: bool

    @property
    def files(self) -> list[Path]:
        """The files and folders among them."""
        sources = (self.model, self.train, self.validation, self.calibration, self.test)
        return [Path(source) for source in sources if isinstance(source, (str, os.PathLike))]


@dataclass(frozen=True)
class Opened:
    """A model and its data, fit for each other.

    Attributes:
        model: The Keras model.
        digest: A digest of its structure and weights.
        data: The data, read.
        loss: The loss of every training; None without training data.
    """

    model: Any
    digest: str
    data: RunData
    loss: Any


def opened(given: Given, settings: OptimizeRecipe, stack: ExitStack, tell: OnEvent, *, trains: bool) -> Opened:
    """Read the data, load the model, and refuse what does not go together before anything slow runs.

    Args:
        given: What the run was given.
        settings: Its recipe.
        stack: Until it closes, both flavours know the custom objects.
        tell: Told the stages.
        trains: Whether there must be training data.

    Raises:
        UsageError: Data, a loss, a metric or an output that is missing or does not fit.
        ModelError: No Keras model with layers.
    """
    tell({"stage": "samples"})
    data = check_recipe_data(
        given.train, given.validation, given.calibration, settings.convert, test=given.test, trains=trains
    )
    tell({"stage": "load"})
    model, digest = _loaded(given)
    check_outputs(model, data, settings.metric, settings.output_name)
    _enter_scope(stack, given.custom_objects)
    wanted = settings.loss if given.loss is None else given.loss
    return Opened(model, digest, data, None if data.train is None else loss_for(model, wanted, data.train))


def _loaded(given: Given) -> tuple[Any, str]:
    """Return the Keras model and a digest of its structure and weights."""
    from ...models.detect import Flavour
    from ...models.load import describe, load_model

    if isinstance(given.model, (str, os.PathLike)):
        loaded = load_model(Path(given.model), custom_objects=given.custom_objects, unsafe_load=given.unsafe_load)
    else:
        loaded = describe(given.model)
    if loaded.flavour is Flavour.SAVED_MODEL:
        raise ModelError(
            f"{given.model} is a SavedModel, a graph without layers, and passes work on layers; give the .keras or .h5 "
            "file."
        )
    digest = hashlib.sha256(repr(loaded.layers).encode())
    for weight in loaded.model.weights:
        digest.update(weight.numpy().tobytes())
    return loaded.model, digest.hexdigest()


def _enter_scope(stack: ExitStack, custom_objects: Sequence[str]) -> None:
    """Let both flavours know the custom objects, for the models that are copied and read on the way."""
    if not custom_objects:
        return
    from ...models.detect import Flavour
    from ...models.load import import_keras, resolve_custom_objects

    objects = resolve_custom_objects(custom_objects)
    for flavour in (Flavour.KERAS3, Flavour.TF_KERAS):
        stack.enter_context(import_keras(flavour).utils.custom_object_scope(objects))
