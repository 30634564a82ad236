"""Which runtime runs the model. Only here is one imported, and only in a worker, which may die of it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any, List, Optional, Tuple

from .delegate import load
from .larq import PACKAGE as LARQ
from .larq import LarqInterpreter, import_library
from .protocol import AgentError

# In the order in which ``auto`` tries them. ai_edge_litert comes first because it gives int8 models to XNNPACK, which
# tflite_runtime 2.14 does not; that is worth several times the speed.
RUNTIMES = ("ai_edge_litert", "tflite_runtime")
AUTO = "auto"
ONNX = "onnxruntime"  # for .onnx files, which no other runs; ``auto`` does not try it
# LARQ, for files with binary layers, neither.
KNOWN = (*RUNTIMES, ONNX, LARQ)

# What `kernels` means -> the name in the runtime's OpResolverType.
KERNELS = {
    "default": "AUTO",  # the runtime's choice: optimised kernels, and XNNPACK where it applies it
    "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",  # optimised kernels, no XNNPACK
    "reference": "BUILTIN_REF",  # the reference kernels: slow, and the same integers on every platform
}


def candidates(wanted: str) -> Tuple[List[str], List[Tuple[str, str]]]:
    """Return the runtimes to try, and those left out with the reason; imports none of them.

    Raises:
        AgentError: `wanted` is no runtime's name.
    """
    if wanted != AUTO and wanted not in KNOWN:
        known = ", ".join((AUTO, *KNOWN))
        raise AgentError("request", "unknown runtime %r; expected one of %s" % (wanted, known))
    names = list(RUNTIMES) if wanted == AUTO else [wanted]
    found = [name for name in names if importlib.util.find_spec(name) is not None]
    return found, [(name, "not installed") for name in names if name not in found]


# A valid model without tensors or operators, 120 bytes.
_EMPTY_MODEL = bytes.fromhex(
    "1800000054464c3300000e00140010000c000800000004000e000000100000001c00000050000000"
    "030000000100000008000000040004000400000001000000100000000c00140010000c0008000400"
    "0c000000100000001000000010000000100000000000000000000000000000000000000000000000"
)


class Runtime:
    """An imported runtime that has proved that it can make an interpreter.

    Attributes:
        name: One of `KNOWN`.
        version: The version that the package states.
    """

    def __init__(self, name: str) -> None:
        """Import it.

        Raises:
            AgentError: It cannot be imported, or was built for another NumPy.
        """
        self.name = name
        self.delegate: Optional[str] = None
        self._delegates: List[Any] = []
        try:
            self._module, self.version = _imported(name)
            self._prove()
        except (ImportError, SystemError, AttributeError) as error:
            raise AgentError("runtime_missing", "does not load: %s" % _reason(error)) from error

    def _prove(self) -> None:
        """Make an interpreter. A wheel that was built for another NumPy imports well, and fails only here."""
        if self.name == LARQ:
            LarqInterpreter(self._module, _EMPTY_MODEL, 1, "default")
        elif self.name != ONNX:
            self._module.Interpreter(model_content=_EMPTY_MODEL)

    def interpreter(self, path: str, threads: int, kernels: str) -> Any:
        """Return a new interpreter of the file at `path`; what it raises is mapped by `Session`."""
        # They import NumPy, which the process that only asks for names may lack.
        from .gpu import GPU, Gpu
        from .onnx import Onnx

        if kernels not in KERNELS:
            raise AgentError("request", "unknown kernels %r; expected one of %s" % (kernels, ", ".join(KERNELS)))
        if self.name == ONNX:
            if kernels != "default":
                raise AgentError("request", "onnxruntime has no kernels but its own; drop --kernels %s" % kernels)
            return Onnx(path, threads)
        if self.name == LARQ:
            with open(path, "rb") as stream:
                return LarqInterpreter(self._module, stream.read(), threads, kernels)
        resolver = getattr(self._module.OpResolverType, KERNELS[kernels])
        plain = self._module.Interpreter(
            model_path=path,
            num_threads=threads,
            experimental_op_resolver_type=resolver,
            experimental_delegates=self._delegates or None,
        )
        return Gpu(plain, path) if self.delegate == GPU else plain

    def use_delegate(self, delegate: str, minimum_runtime: Optional[int] = None) -> None:
        """Load a delegate for all interpreters to come (see `delegate.load`).

        A library that does not match the runtime may kill the process here.

        Raises:
            AgentError: It cannot be loaded.
        """
        from .gpu import GPU, require

        if self.name in (ONNX, LARQ):
            raise AgentError("request", "delegates are TFLite's, and %s takes none; drop --delegate" % self.name)
        if delegate == GPU:
            require(self.name)
            self.delegate = GPU
            return
        self._delegates = [load(self._module, delegate, minimum_runtime)]
        self.delegate = os.path.basename(delegate)


def _imported(name: str) -> Tuple[Any, str]:
    """Return a runtime's module and version."""
    if name == LARQ:
        from importlib import metadata  # its wheels begin with Python 3.10, and Python 3.7 has no such module

        return import_library(), metadata.version(name)
    module = importlib.import_module(name if name == ONNX else name + ".interpreter")
    return module, str(importlib.import_module(name).__version__)


# ELF's number of a machine -> what `uname -m` prints.
_MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}


def _architecture(path: str) -> Optional[str]:
    """Return the machine that a shared library was built for; None when `path` is none.

    A loader that finds a library of another machine says only "cannot open shared object file".
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(20)
    except (OSError, ValueError):
        return None
    return _MACHINES.get(int.from_bytes(head[18:20], "little")) if head[:4] == b"\x7fELF" else None


def _reason(error: BaseException) -> str:
    """Return the innermost cause, with a word on NumPy where that is it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = "%s: %s" % (type(error).__name__, error)
    library = str(error).partition(": ")[0]
    built_for, own = _architecture(library), _architecture(sys.executable)
    if built_for != own and None not in (built_for, own):
        text = "%s was built for %s, and this is %s" % (library, built_for, own)
    if "_ARRAY_API" in text or "numpy.core" in text:
        import numpy as np

        text = "it was built for another NumPy than %s (%s); install 'numpy<2'" % (np.__version__, text)
    return text
