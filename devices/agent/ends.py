"""The model's own data become those of its file, and the file's outputs the model's, as the file's sidecar says."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np

from .arith import Array
from .front import run_steps
from .npy import NotAnArray, map_npy
from .protocol import AgentError

_FAILURES = (KeyError, IndexError, TypeError, ValueError, AttributeError)


def prepare_files(
    front: Mapping[str, Any], names: Sequence[str], files: Mapping[str, str], folder: str
) -> Dict[str, str]:
    """Return .npy files for a file's inputs, by name: those that are given, or what the front makes of them.

    Args:
        front: The sidecar's ``front``.
        names: The file's inputs.
        files: Input name of the model, or of the file, -> .npy file; "" names the only one.
        folder: Where what is made goes.

    Raises:
        AgentError: The front is not there as Python, or does not take these data.
    """
    if set(names) <= set(files):
        return dict(files)
    if not front.get("layers"):
        raise AgentError(
            "data", "the file begins behind layers that its sidecar does not have as Python; give %s" % names
        )
    given = dict(files)
    if list(given) == [""]:
        given = {str(front["inputs"][0]["name"]): given[""]}
    try:
        made = run_steps(front["layers"], {name: map_npy(path) for name, path in given.items()})
        arrays = {name: np.asarray(made[name]) for name in names}
    except (OSError, NotAnArray) as error:
        raise AgentError("data", "the data are no arrays in .npy format (%s)" % error) from error
    except _FAILURES as error:
        wanted = ", ".join(repr(item["name"]) for item in front["inputs"])
        message = "the data cannot be prepared for the file (%s: %s); the model takes %s"
        raise AgentError("data", message % (type(error).__name__, error, wanted)) from error
    prepared = {}
    for number, (name, array) in enumerate(arrays.items()):
        prepared[name] = os.path.join(folder, "prepared-%d.npy" % number)
        np.save(prepared[name], array)
    return prepared


def joined(back: Mapping[str, Any], names: Sequence[str], outputs: Sequence[Array]) -> List[Array]:
    """Return the model's outputs, in its order, of the real values of the file's.

    Raises:
        AgentError: The sidecar's ``back`` does not fit the file.
    """
    try:
        found = run_steps(back["layers"], dict(zip(names, outputs)))
        return [np.asarray(found[name]) for name in back["outputs"]]
    except _FAILURES as error:
        message = "the sidecar does not fit the file (%s: %s)" % (type(error).__name__, error)
        raise AgentError("file", message) from error


def save(outputs: Sequence[Array], folder: str) -> None:
    """Write the model's outputs as ``joined-<position>.npy``."""
    for position, output in enumerate(outputs):
        np.save(os.path.join(folder, "joined-%d.npy" % position), output)
