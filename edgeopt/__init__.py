"""edgeopt takes a Keras model to a Raspberry Pi or a Coral board, and proves that it still works there.

Importing this package is instant and imports neither TensorFlow nor NumPy: names are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import bridge, callbacks, errors
    from .api.convert import convert
    from .api.fix import fix_model
    from .api.inspect import inspect
    from .api.optimize.run import optimize
    from .api.sensitivity import sensitivity
    from .api.validate import validate
    from .artifact.artifact import Artifact
    from .check.model import check_model
    from .evaluation.budget import Budget
    from .evaluation.report import ValidationReport
    from .evaluation.sensitivity import SensitivityReport
    from .pages.bundle import bundle, verify
    from .pages.compare import compare
    from .pages.report import report
    from .passes.qat.scope import qat_scope

# public name -> the module that defines it
_PUBLIC = {
    "Artifact": "edgeopt.artifact.artifact",
    "Budget": "edgeopt.evaluation.budget",
    "bridge": "edgeopt",
    "SensitivityReport": "edgeopt.evaluation.sensitivity",
    "ValidationReport": "edgeopt.evaluation.report",
    "bundle": "edgeopt.pages.bundle",
    "callbacks": "edgeopt",
    "check_model": "edgeopt.check.model",
    "compare": "edgeopt.pages.compare",
    "convert": "edgeopt.api.convert",
    "errors": "edgeopt",
    "fix_model": "edgeopt.api.fix",
    "inspect": "edgeopt.api.inspect",
    "optimize": "edgeopt.api.optimize.run",
    "qat_scope": "edgeopt.passes.qat.scope",
    "report": "edgeopt.pages.report",
    "sensitivity": "edgeopt.api.sensitivity",
    "validate": "edgeopt.api.validate",
    "verify": "edgeopt.pages.bundle",
}

__all__ = [
    "Artifact",
    "Budget",
    "SensitivityReport",
    "ValidationReport",
    "__version__",
    "bridge",
    "bundle",
    "callbacks",
    "check_model",
    "compare",
    "convert",
    "errors",
    "fix_model",
    "inspect",
    "optimize",
    "qat_scope",
    "report",
    "sensitivity",
    "validate",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'edgeopt' has no attribute {name!r}")
    if _PUBLIC[name] == "edgeopt":
        return importlib.import_module(f"edgeopt.{name}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
