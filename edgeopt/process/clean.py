"""How a Python of edgeopt's own is started: it finds the modules that this process finds, and none by accident.

``python -m`` and ``python -c`` put the current folder before all others. A cloned repository's ``json.py`` would be
imported there in place of the real one. `-P` leaves it out, but Python 3.10 does not know it, and `-I` would leave out
what the user's PYTHONPATH and user site hold. So a child starts with a line that has nothing to import, and takes its
parent's path.
"""

from __future__ import annotations

import os
import sys

# `sys` is built in: until the path is set, nothing is looked for in any folder.
_BOOT = (
    "import sys; n = int(sys.argv[1]); sys.path[:] = sys.argv[2 : 2 + n]; del sys.argv[1 : 2 + n]; "
    "import importlib; importlib.import_module(sys.argv.pop(1)).main(sys.argv[1:])"
)


def module_path() -> list[str]:
    """Return the folders in which a child looks for modules: those of this process but ``""``, the current folder.

    A current folder that was put there by its name stays: PYTHONPATH and installations do that.
    """
    return [os.path.abspath(entry) for entry in sys.path if isinstance(entry, str) and entry]


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the argv that calls ``main(arguments)`` of a module in a new Python.

    Example:
        >>> python_command("edgeopt.process.child", "module:function")[-2:]
        ['edgeopt.process.child', 'module:function']
    """
    flags = {"-E": sys.flags.ignore_environment, "-s": sys.flags.no_user_site}
    path = module_path()
    given = [flag for flag, on in flags.items() if on]
    return [sys.executable, *given, "-c", _BOOT, str(len(path)), *path, module, *arguments]
