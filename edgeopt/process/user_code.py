"""The user's own functions and classes by name: ``mets:f1``, installed or in a file of the current folder.

The current folder is not trusted as a whole: it may be a cloned repository with a ``tensorflow.py`` in it. What the
user has named is imported from there, and nothing else; an installed package of the same name always wins.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from ..errors import EdgeoptError, UsageError


class _Named:
    """Finds the named modules in their folders; it stands last, so that it is asked only for what nobody else has."""

    def __init__(self) -> None:
        self.folders: dict[str, str] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is that was named; as `importlib` asks for it."""
        folder = self.folders.get(name)
        return None if folder is None else PathFinder.find_spec(name, [folder])


_named = _Named()


def import_user_object(reference: str, what: str, error: type[EdgeoptError] = UsageError) -> Any:
    """Return what ``module:NAME`` stands for.

    The module is an installed one or, where none of that name is, that of the current folder.

    Args:
        reference: ``module:NAME``; the module may be one of a package.
        what: What it is, for the error message: "the metric".
        error: The class of the error.

    Raises:
        EdgeoptError: It is of another form, cannot be imported, or is not there; of the class `error`.

    Example:
        >>> import_user_object("statistics:median", "the metric")([1, 2, 6])
        2
    """
    module_name, _, name = reference.partition(":")
    if not name or not all(part.isidentifier() for part in module_name.split(".")):
        raise error(f"Received {reference!r} for {what}; expected module:NAME.")
    top = module_name.partition(".")[0]
    folder = _folder_with(top)
    if folder is not None:
        _named.folders[top] = folder
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not _named]
        sys.meta_path.append(_named)  # behind what others have added since
    importlib.invalidate_caches()  # the file may have been written just now
    try:
        found = getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as missing:
        raise error(f"Cannot import {what} {reference!r}: {_missing(missing, top, folder)}.") from missing
    except AttributeError as missing:
        if not _is_of(module_name, name, missing):
            raise error(f"Cannot import {what} {reference!r}: {_raised(missing, module_name)}.") from missing
        why = f"module {module_name!r} has no {name!r}{_shadowed(top, folder)}"
        raise error(f"Cannot import {what} {reference!r}: {why}.") from missing
    except Exception as raised:
        raise error(f"Cannot import {what} {reference!r}: {_raised(raised, module_name)}.") from raised
    return found


def _folder_with(top: str) -> str | None:
    """Return the current folder, if there is a module of that name in it."""
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        return None
    return None if PathFinder.find_spec(top, [folder]) is None else folder


def _missing(missing: ModuleNotFoundError, top: str, folder: str | None) -> str:
    name = missing.name or str(missing)
    if name == top:
        return (
            f"no module {top!r} is installed, and the current folder has no {top}.py; run edgeopt in the folder of "
            f"{top}.py, or install it"
        )
    if name.startswith(f"{top}."):
        return f"there is no module {name!r}{_shadowed(top, folder) or '; correct the name'}"
    if folder is None:
        return f"it imports {name!r}, which is not installed; install it"
    return (
        f"it imports {name!r}, which is not installed, and of the current folder only {top!r} is imported, which you "
        f"have named; install {name!r}, or trust the whole folder with PYTHONPATH=."
    )


def _shadowed(top: str, folder: str | None) -> str:
    """Return what is to be said where an installed module has the name of one of the current folder."""
    module = sys.modules.get(top)
    places = [getattr(module, "__file__", None) or "", *map(str, getattr(module, "__path__", ()))]
    if folder is None or any(os.path.dirname(place) == folder for place in places if place):
        return ""
    return (
        f": it is the installed one ({next(filter(None, places), 'built in')}), whose name the one in the current "
        "folder may not take; rename yours"
    )


def _is_of(module_name: str, name: str, missing: AttributeError) -> bool:
    """Whether an `AttributeError` is of the name that was asked for, and not of the module's own code."""
    return missing.name == name and missing.obj is sys.modules.get(module_name)


def _raised(raised: Exception, module_name: str) -> str:
    return f"{module_name!r} raised {type(raised).__name__} ({raised}) while it was imported; correct it"
