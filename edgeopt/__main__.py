"""``python -m edgeopt`` is the command line."""

from .cli import run

run()
