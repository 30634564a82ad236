"""How one process hands tensors to the next: a few slots of shared memory, and two pipes that say which are full.

The memory is a file without a name, the pipes end when a process does: nothing is left behind, and who waits for a
process that died learns it at once. A sender waits when all slots are full, so no queue grows.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from .arith import Array
from .protocol import AgentError
from .records import TensorFacts

_ALIGNMENT = 64
_SHARED = "/dev/shm"  # memory, where Linux has it; else a file on the disk

Arrays = Dict[str, Array]


class Gone(Exception):
    """The process at the other end has ended."""


@dataclass(frozen=True)
class Ends:
    """File descriptors of one link: the memory, and the ends of the two pipes that a process holds."""

    memory: int
    send: int
    receive: int

    def close(self) -> None:
        """Close the pipes' ends."""
        os.close(self.send)
        os.close(self.receive)


def link() -> Tuple[Ends, Ends]:
    """Return the sender's and the receiver's ends of a new link, whose memory is empty as yet."""
    with tempfile.TemporaryFile(dir=_SHARED if os.access(_SHARED, os.W_OK) else None) as file:
        memory = os.dup(file.fileno())
    full, free = os.pipe(), os.pipe()
    return Ends(memory, send=full[1], receive=free[0]), Ends(memory, send=free[1], receive=full[0])


def slot_bytes(tensors: Sequence[TensorFacts]) -> int:
    """Return the size of a slot that holds these tensors."""
    return max(_ALIGNMENT, sum(_padded(tensor) for tensor in tensors))


def tensor_bytes(tensor: TensorFacts) -> int:
    """Return the bytes of a tensor's values.

    Raises:
        AgentError: They have no fixed size.
    """
    dtype = np.dtype(tensor["dtype"])
    if dtype.kind not in "biuf":
        message = "the tensor %r holds %s, which cannot be handed from process to process"
        raise AgentError("unsupported", message % (tensor["tensor_name"], dtype))
    return int(dtype.itemsize * np.prod(tensor["shape"], dtype=np.int64))


def _padded(tensor: TensorFacts) -> int:
    return -(-tensor_bytes(tensor) // _ALIGNMENT) * _ALIGNMENT


class _Slots:
    """The arrays of each slot, by name, views of the shared memory; the slots take turns."""

    def __init__(self, ends: Ends, tensors: Sequence[TensorFacts], depth: int) -> None:
        self._ends = ends
        size = slot_bytes(tensors)
        memory = mmap.mmap(ends.memory, size * depth)
        os.close(ends.memory)
        self._views: List[Arrays] = []
        for slot in range(depth):
            place, views = slot * size, {}
            for tensor in tensors:
                count, shape = int(np.prod(tensor["shape"], dtype=np.int64)), tensor["shape"]
                flat = np.frombuffer(memory, tensor["dtype"], count, place)
                views[tensor["tensor_name"]] = flat.reshape(shape)
                place += _padded(tensor)
            self._views.append(views)
        self._turn = 0

    def _next(self) -> Arrays:
        views = self._views[self._turn % len(self._views)]
        self._turn += 1
        return views

    def close(self) -> None:
        """Tell the other end that nothing more comes."""
        self._ends.close()


class Sender(_Slots):
    """The end that writes: `slot`, fill its arrays, `send`."""

    def __init__(self, ends: Ends, tensors: Sequence[TensorFacts], depth: int) -> None:
        """Use the sender's ends of a link for `depth` slots of these tensors."""
        super().__init__(ends, tensors, depth)
        self._free = depth

    def slot(self) -> Arrays:
        """Return the arrays of a free slot; waits until there is one.

        Raises:
            Gone: The receiver has ended.
        """
        if self._free:
            self._free -= 1
        elif not os.read(self._ends.receive, 1):
            raise Gone
        return self._next()

    def send(self) -> None:
        """Hand over the slot that `slot` returned.

        Raises:
            Gone: The receiver has ended.
        """
        _signal(self._ends.send)


class Receiver(_Slots):
    """The end that reads: `receive`, read its arrays, `release`."""

    def receive(self) -> Optional[Arrays]:
        """Return the arrays of the next slot; waits for it; None when the sender has ended."""
        return self._next() if os.read(self._ends.receive, 1) else None

    def release(self) -> None:
        """Give the slot back.

        Raises:
            Gone: The sender has ended.
        """
        _signal(self._ends.send)


def _signal(descriptor: int) -> None:
    try:
        os.write(descriptor, b".")
    except BrokenPipeError:
        raise Gone from None
