"""The readers of outside data that are tried with damaged files, one target each.

A new one: a `Reader` in a file of `targets/`, and its name in `MODULES`.
"""

from __future__ import annotations

import functools
import importlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .mutator import Mutate, mutate

# Reader -> module of `targets` whose READERS hold it.
MODULES = {
    **dict.fromkeys(("tflite", "taps", "edgetpu", "gpu", "lce", "dwn1"), "tflite"),
    **dict.fromkeys(("reply", "info", "golden", "request"), "boards"),
    **dict.fromkeys(("npy", "npz"), "arrays"),
    **dict.fromkeys(("recipe", "inventory", "rules", "sidecar", "report", "edgetpu-log", "vela"), "text"),
    **dict.fromkeys(("detect", "keras", "saved_model"), "models"),
    "pictures": "pictures",
    "onnx": "onnx",
    **dict.fromkeys(("results", "bundle"), "pages"),
}


@dataclass(frozen=True)
class Reader:
    """A reader of outside data.

    Attributes:
        read: Reads the bytes of a file, and computes all that edgeopt computes from it. Returns, or raises an
            `EdgeoptError`; all else is a finding.
        seeds: Makes the real files that are damaged, by name.
        sources: The files whose lines it should reach, as patterns below the checkout.
        reproducers: Files that were trouble once, as patterns below the shared data; tried as they are, and damaged.
        mutate: How a file is damaged.
        cases: How many damaged files CI tries.
        in_child: edgeopt reads it in a child process: that process may crash.
    """

    read: Callable[[bytes], None]
    seeds: Callable[[], Mapping[str, bytes]]
    sources: tuple[str, ...]
    reproducers: tuple[str, ...] = ()
    mutate: Mutate = mutate
    cases: int = 400
    in_child: bool = False

    @functools.cached_property
    def made(self) -> Mapping[str, bytes]:
        """The seeds, made once."""
        return self.seeds()

    def files(self) -> dict[str, bytes]:
        """Return the seeds and, where the shared data are there, the reproducers, by name."""
        shared = shared_data()
        paths = [path for pattern in self.reproducers for path in sorted(shared.glob(pattern))]
        return {**self.made, **{str(path.relative_to(shared)): path.read_bytes() for path in paths}}


def load_reader(name: str) -> Reader:
    """Return the reader `name`; what it needs is imported. "planted" is one with known faults."""
    module = importlib.import_module(f"{__package__}.targets.{MODULES.get(name, 'planted')}")
    found: Reader = module.READERS[name]
    return found


@functools.cache
def scratch() -> Path:
    """Return a folder for files; a worker's goes with it."""
    return Path(tempfile.mkdtemp(prefix="edgeopt-fuzz-"))


def shared_data() -> Path:
    """Return the folder of real models and data, which may be absent."""
    checkout = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("EDGEOPT_TEST_DATA", checkout.parent / "shared" / "data"))
