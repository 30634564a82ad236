"""``python -m edgeopt`` is the command line."""

import os
import sys

if not getattr(sys.flags, "safe_path", False) and sys.path[:1] == [os.getcwd()]:
    del sys.path[0]  # the current folder, which -m has put there: nothing is imported from it by accident

from .cli import run

run()
