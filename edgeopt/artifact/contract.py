"""How the model's own inputs and outputs become those of a file that leaves a part of the model to its user.

A file may begin behind layers that no file can have (``front``), or take prepared values and give each part of an
output as an output of its own (``front`` and ``back``). The sidecar holds those steps, and here they are gone through.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from ..devices.agent.front import KINDS, discretize, encode, look_up, run_steps
from ..errors import DataError, FileFormatError

Array = npt.NDArray[Any]
Steps = Sequence[Mapping[str, Any]]


class FrontInput(TypedDict):
    """What the front of a model takes; -1 in the shape is an open dimension."""

    name: str
    dtype: str
    shape: list[int]


UnknownLayer = TypedDict("UnknownLayer", {"layer": str, "class": str})
UnknownLayer.__doc__ = "A layer that is done in front of the file, and not in the sidecar as Python."


class Front(TypedDict):
    """What is done in front of a file.

    Attributes:
        layers: The steps, as `edgeopt.devices.agent.front.run_steps` runs them; null where a layer is not known there.
    """

    inputs: list[FrontInput]
    layers: list[dict[str, object]] | None
    unknown: list[UnknownLayer]


class Back(TypedDict):
    """What makes the model's outputs, by name, of the file's: steps of the same form."""

    outputs: list[str]
    layers: list[dict[str, object]]


@dataclass(frozen=True)
class Contract:
    """What the model takes and gives, where that is not what its file does.

    Attributes:
        front: The sidecar's ``front``; None where the file's inputs are the model's.
        back: Its ``back``; None where the file's outputs are the model's.
    """

    front: Mapping[str, Any] | None = None
    back: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, sidecar: Mapping[str, Any]) -> Contract:
        """Return what a sidecar says."""
        return cls(sidecar.get("front"), sidecar.get("back"))

    def made(self) -> frozenset[str]:
        """Return the names of the tensors that the front makes.

        Raises:
            DataError: The front is not there as Python.
        """
        if self.front is None:
            return frozenset()
        return frozenset(str(step["output"]) for step in self._steps(self.front))

    def prepared(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Return what the model is given together with what the front makes of it, by name.

        Raises:
            DataError: The front cannot be gone through, or not with these values.
        """
        if self.front is None:
            return dict(given)
        return _gone_through(self._steps(self.front), given, "front", DataError)

    @staticmethod
    def _steps(front: Mapping[str, Any]) -> Steps:
        if front["layers"] is None:
            unknown = ", ".join(f"{item['layer']!r} ({item['class']})" for item in front["unknown"])
            raise DataError(
                f"The file begins behind layers that its sidecar does not have as Python: {unknown}; "
                "give the file's own inputs, by name."
            )
        return list(front["layers"])

    def joined(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the model's outputs, by name in its order, of the real values of the file's.

        Raises:
            FileFormatError: The back does not fit the file.
        """
        if self.back is None:
            return dict(outputs)
        found = _gone_through(self.back["layers"], outputs, "back", FileFormatError)
        missing = [name for name in self.back["outputs"] if name not in found]
        if missing:
            raise FileFormatError(f"The sidecar's back does not make the output {missing[0]!r}; convert again.")
        return {name: found[name] for name in self.back["outputs"]}


def _gone_through(
    steps: Steps, given: Mapping[str, Array], end: str, error: type[DataError | FileFormatError]
) -> dict[str, Array]:
    try:
        return {name: np.asarray(array) for name, array in run_steps(steps, given).items()}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, MemoryError) as problem:
        raise error(
            f"The steps of the sidecar's {end} fail ({type(problem).__name__}: {problem}); "
            "give the samples as the model takes them, or convert again."
        ) from problem


def source_of(steps: Steps) -> str:
    """Return the Python functions that these steps need, `run_steps` last, without what they do not."""
    functions = {KINDS[step["class"]] for step in steps}
    functions |= {encode} if functions & {look_up, discretize} else set()
    ordered = sorted(functions, key=lambda function: function.__code__.co_firstlineno)
    names = ", ".join(f'"{kind}": {KINDS[kind].__name__}' for kind in sorted({step["class"] for step in steps}))
    parts = [*map(inspect.getsource, ordered), f"KINDS = {{{names}}}\n", inspect.getsource(run_steps)]
    return "\n\n".join(parts)
