"""Where the board's image is kept between runs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "EDGEOPT_PI_TARGET"


def cache_folder() -> Path:
    """Return the folder of the environment variable EDGEOPT_PI_TARGET, default ``.pi-target`` in the checkout."""
    folder = Path(os.environ.get(VARIABLE) or Path(__file__).resolve().parents[2] / ".pi-target")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Keep others from building in `cache` meanwhile."""
    with (cache / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
