"""Spare TensorFlow's converter from loading a SavedModel into Python twice, which takes longer than converting it.

``TFLiteConverter.from_saved_model`` loads the folder to see which signatures it has, and ``convert`` loads it again for
debug information; the compiler then reads the folder itself. A lean SavedModel has one signature, known by name, and no
debug information.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace


@contextmanager
def without_reloading(signature_key: str) -> Iterator[None]:
    """Let the converter take a folder's one signature and its lack of debug information as known."""
    from tensorflow.core.framework import graph_debug_info_pb2
    from tensorflow.lite.python import lite

    loaded = SimpleNamespace(signatures={signature_key: None}, graph_debug_info=graph_debug_info_pb2.GraphDebugInfo())
    original = lite._load
    lite._load = lambda _folder, _tags: loaded
    try:
        yield
    finally:
        lite._load = original
