"""TensorFlow's quantiser of annotated files, which is private: `tensorflow.lite.python.convert.mlir_quantize`.

This module alone touches it. The converter calls it once, with its own settings; here it can be called again and again
with the same settings on files whose ranges differ, which takes a small part of a conversion's time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Quantise(Protocol):
    """Quantises an annotated file with the converter's settings, or with some of them changed."""

    def __call__(self, annotated: bytes, **changes: Any) -> bytes:
        """Return the quantised file; `changes` are arguments of TensorFlow's ``mlir_quantize``."""


@contextmanager
def quantising(make: Callable[[bytes, Quantise], bytes], own: Callable[..., bytes] | None = None) -> Iterator[None]:
    """Let `make` take the place of the converter's quantiser for as long as the context lasts.

    Args:
        make: Gets the float file annotated with ranges (`RangeMeter.annotated`), and the quantiser with the
            converter's settings: annotated file -> quantised file. What it returns is what the converter goes on with.
            Not called for 16-bit activations, which TensorFlow quantises in another way.
        own: Another quantiser, which takes the arguments of TensorFlow's; None for TensorFlow's.
    """
    from tensorflow.lite.python import lite

    original = lite._mlir_quantize

    def replaced(annotated: bytes, *settings: Any, **named: Any) -> bytes:
        def quantise(annotated: bytes, **changes: Any) -> bytes:
            return bytes((own or original)(annotated, *settings, **{**named, **changes}))

        return make(bytes(annotated), quantise)

    lite._mlir_quantize = replaced
    try:
        yield
    finally:
        lite._mlir_quantize = original
