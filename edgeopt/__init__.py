"""edgeopt takes a Keras model to a Raspberry Pi or a Coral board, and proves that it still works there.

Importing this package is instant and imports neither TensorFlow nor NumPy: names are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import bridge, callbacks, errors
    from .api.check import check_model
    from .api.convert import convert
    from .api.fix import fix_model
    from .api.inspect import inspect
    from .api.optimize import optimize
    from .api.validate import validate
    from .artifact import Artifact
    from .budget import Budget
    from .passes.qat.scope import qat_scope
    from .validation import ValidationReport

# public name -> the module that defines it
_PUBLIC = {
    "Artifact": "edgeopt.artifact",
    "Budget": "edgeopt.budget",
    "bridge": "edgeopt",
    "ValidationReport": "edgeopt.validation",
    "callbacks": "edgeopt",
    "check_model": "edgeopt.api.check",
    "convert": "edgeopt.api.convert",
    "errors": "edgeopt",
    "fix_model": "edgeopt.api.fix",
    "inspect": "edgeopt.api.inspect",
    "optimize": "edgeopt.api.optimize",
    "qat_scope": "edgeopt.passes.qat.scope",
    "validate": "edgeopt.api.validate",
}

__all__ = [
    "Artifact",
    "Budget",
    "ValidationReport",
    "__version__",
    "bridge",
    "callbacks",
    "check_model",
    "convert",
    "errors",
    "fix_model",
    "inspect",
    "optimize",
    "qat_scope",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'edgeopt' has no attribute {name!r}")
    if _PUBLIC[name] == "edgeopt":
        return importlib.import_module(f"edgeopt.{name}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
