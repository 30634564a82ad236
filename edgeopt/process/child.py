"""What runs in a child process: one request is read, its function called, its reply written; see `isolation`."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import NoReturn

from .. import errors
from ..artifact.scratch import out_of_space


def serve_one(target: str) -> int:
    """Serve one request (the child's side); returns the exit code."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def say(message: Mapping[str, object]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    module_name, _, function_name = target.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
        say({"reply": function(request, lambda event: say({"event": event}))})
    except KeyboardInterrupt:
        return errors.INTERRUPTED_EXIT_CODE
    except Exception as raised:
        error = out_of_space(raised) or raised
        say({"error": {"class": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}})
    return 0


def _end_with_parent() -> None:
    with contextlib.suppress(ValueError, OSError):
        sys.stdin.read()
    os._exit(1)


def main(arguments: Sequence[str]) -> NoReturn:
    """Serve one request in a process that was started for it; see `edgeopt.process.clean`."""
    code = serve_one(arguments[0])
    sys.stdout.flush()
    os._exit(code)  # at once: TensorFlow's own shutdown takes long and does nothing for us
