"""Samples that lie in memory, written for another process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.calibration import Chosen
from ..data.dataset import Array, Dataset, of_pictures
from ..data.folder import Pictures
from ..data.labels import Labels

SAMPLES_FILE = "samples.npz"
HELD_BACK_FILE = "held_back.npz"


@dataclass(frozen=True)
class WrittenSamples:
    """Samples that lay in memory, in a file for another process; of a folder of images, what it is read by.

    Attributes:
        arrays: The .npz file; None for images.
        names: Names of the arrays; empty where they have none.
        source: Where they came from.
        note: How they were prepared.
        pictures: The images, as `Pictures.to_dict` gives them; None for arrays.
        class_names: Of the images' folder.
    """

    arrays: str | None
    names: Sequence[str]
    source: str
    note: str
    pictures: Mapping[str, Any] | None = None
    class_names: Sequence[str] = ()

    @classmethod
    def write(cls, data: Dataset, target: Path) -> WrittenSamples:
        """Write samples; arrays go to the .npz file `target`."""
        if data.pictures is not None:
            return cls(None, (), data.source, data.note, data.pictures.to_dict(), data.class_names)
        return cls(write_arrays(target, data.arrays), data.names, data.source, data.note)

    def read(self) -> Dataset:
        """Read them back."""
        if self.pictures is not None:
            return of_pictures(Pictures.from_dict(self.pictures), None, self.class_names, self.source)
        arrays = () if self.arrays is None else tuple(read_arrays(self.arrays))
        return Dataset(arrays, tuple(self.names), None, self.source, self.note)


@dataclass(frozen=True)
class WrittenChosen:
    """The samples that calibrate a model, written for another process: what `Chosen` holds."""

    data: WrittenSamples
    warnings: Sequence[str]
    held_back: WrittenSamples | None

    @classmethod
    def write(cls, chosen: Chosen, folder: Path) -> WrittenChosen:
        """Write them to `folder`."""
        others = chosen.held_back
        return cls(
            WrittenSamples.write(chosen.data, folder / SAMPLES_FILE),
            chosen.warnings,
            None if others is None else WrittenSamples.write(others, folder / HELD_BACK_FILE),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> WrittenChosen:
        """Return what `to_dict` of a request made of it."""
        others = values["held_back"]
        return cls(
            WrittenSamples(**values["data"]), values["warnings"], None if others is None else WrittenSamples(**others)
        )

    def read(self) -> Chosen:
        """Read them back."""
        return Chosen(self.data.read(), self.warnings, None if self.held_back is None else self.held_back.read())


@dataclass(frozen=True)
class WrittenLabels:
    """Labels: an array, or several by output name or in the outputs' order.

    Attributes:
        arrays: The .npz file.
        names: Of the outputs, where the labels are by name.
        several: Whether there are several.
    """

    arrays: str
    names: Sequence[str]
    several: bool

    @classmethod
    def write(cls, labels: Labels, target: Path) -> WrittenLabels:
        """Write labels to the .npz file `target`."""
        if isinstance(labels, Mapping):
            return cls(write_arrays(target, list(labels.values())), tuple(labels), True)
        several = isinstance(labels, tuple)
        return cls(write_arrays(target, list(labels) if several else [np.asarray(labels)]), (), several)

    def read(self) -> Labels:
        """Read them back."""
        arrays = read_arrays(self.arrays)
        if self.names:
            return dict(zip(self.names, arrays, strict=True))
        return tuple(arrays) if self.several else arrays[0]


def write_arrays(target: Path, arrays: Sequence[Array]) -> str:
    """Write arrays to the .npz file `target`; return its path."""
    np.savez(target, *arrays)
    return str(target)


def read_arrays(file: str) -> list[Array]:
    """Return what `write_arrays` wrote."""
    with np.load(file, allow_pickle=False) as archive:
        return [archive[f"arr_{index}"] for index in range(len(archive.files))]
