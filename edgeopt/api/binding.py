"""Samples bound to a file's inputs: in the model's own terms as a rule, and prepared where the file takes it so."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..artifact.contract import Contract
from ..data.dataset import Array, Dataset
from ..flatbuffer.specs import TensorSpec

if TYPE_CHECKING:
    from .reading import ModelFile


@dataclass(frozen=True, eq=False)
class Bound:
    """Samples for a file.

    Attributes:
        inputs: Samples by the names of the file's inputs, in its order.
        given: The same as they were given: by the names of the model's inputs, or of the file's.
    """

    inputs: Mapping[str, Array] = field(repr=False)
    given: Mapping[str, Array] = field(repr=False)


def bind(specs: Sequence[TensorSpec], dataset: Dataset, contract: Contract) -> Bound:
    """Bind samples to a file: as they are where they have its inputs' names, else prepared as its contract says.

    Args:
        specs: The file's inputs, in its order.
        dataset: The samples.
        contract: What stands in front of the file.

    Raises:
        DataError: They fit neither the file's inputs nor the model's.
    """
    names = [spec.name for spec in specs]
    front = contract.front or {"inputs": [], "layers": None}
    wanted = {item["name"]: tuple(item["shape"]) for item in front["inputs"]}
    raw = wanted.keys() & set(dataset.names) if front["layers"] is None else wanted
    if not raw or set(names) <= set(dataset.names):
        inputs = dataset.bind(names, [spec.signature for spec in specs])
        return Bound(inputs, inputs)
    strings = [item["name"] for item in front["inputs"] if item["dtype"] == "string"]
    made = contract.made()
    wanted |= {spec.name: spec.signature for spec in specs if spec.name not in {*made, *wanted}}
    given = dataset.bind(list(wanted), list(wanted.values()), strings)
    found = contract.prepared(given)
    return Bound({name: found[name] for name in names}, given)


def bound_inputs(file: ModelFile, data: Any, samples: int | None = None) -> dict[str, Any]:
    """Return samples (the first `samples` of them) by input name, in the file's order.

    A folder of images is read as the file's calibration was, and values are prepared as its sidecar says.

    Raises:
        DataError: They fit neither the file's inputs nor the model's.
    """
    import numpy as np

    from ..data.dataset import load_dataset
    from .pictures import image_options

    folder = isinstance(data, (str, os.PathLike)) and os.path.isdir(data)
    dataset = load_dataset(data, **(image_options(file.artifact) if folder else {}))
    if samples is not None:
        dataset = dataset.take(np.arange(min(samples, dataset.count)))
    return dict(bind(file.inputs, dataset, file.contract).inputs)
