"""TensorFlow in this process without its log: what it says while it loads, and the warnings about itself."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Sequence

_CHATTY = ("tensorflow", "absl")
_WARNING = ("keras", "tf_keras", "tensorflow")


def load_tensorflow_quietly(modules: Sequence[str] = ("tensorflow", "keras", "tf_keras")) -> None:
    """Import `modules`; silence them unless ``EDGEOPT_VERBOSE`` is 1 (the command line's -v).

    The first lines of TensorFlow's log are written before any setting of it counts, straight to file descriptor 2.
    """
    if os.environ.get("EDGEOPT_VERBOSE") == "1":
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        for name in modules:
            importlib.import_module(name)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    for module in _WARNING:
        warnings.filterwarnings("ignore", module=module)
