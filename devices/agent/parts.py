"""The processes of a pipeline: started side by side, connected by links, and asked what one of them died of."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, List, Optional, Sequence, Tuple, cast

from .protocol import AgentError, Message, decode, encode
from .records import PartFacts
from .ring import Arrays, Ends, Gone, Receiver, Sender, link, slot_bytes, tensor_bytes
from .segment import live
from .streams import read_line, write_all
from .supervisor import converse, outcome, start_worker

QUEUE = 2  # slots of a link: one is worked on, one waits
PATIENCE_S = 10.0  # how long a part may take to end once its input has


class Member:
    """One part's process, from its start to its end."""

    def __init__(self, name: str, request: Message, source: Ends, sink: Ends) -> None:
        """Start it, and let it load its file; the ends of its links are its own from now on."""
        self.name = name
        self.facts: Message = {}
        self.late = False
        self._told: Tuple[str, Optional[Message]] = ("start", None)
        self._channel, theirs = socket.socketpair()
        theirs_of = {"source": list(vars(source).values()), "sink": list(vars(sink).values())}
        self._worker = start_worker([theirs.fileno(), *theirs_of["source"], *theirs_of["sink"]])
        told = dict(request, op="segment", channel=theirs.fileno(), **theirs_of)
        for end in (theirs, source, sink):
            end.close()
        self._talk = threading.Thread(target=self._converse, args=(told,), daemon=True)
        self._talk.start()

    def _converse(self, request: Message) -> None:
        self._told = converse(self._worker, request)

    def load(self) -> bool:
        """Wait until it has loaded its file, and learn what that reads and writes; return whether it did."""
        self.facts = dict(decode(read_line(self._channel.fileno())) or {})
        loaded = bool(self.facts)
        self.facts["name"] = self.name
        return loaded

    def connect(self, given: Sequence[Any], made: Sequence[Any], depth: int) -> None:
        """Tell it what is handed over in front of it and behind it."""
        write_all(self._channel.fileno(), encode({"given": given, "made": made, "depth": depth}))

    def end(self) -> Message:
        """Return its result; `late` tells whether it had to be killed.

        Raises:
            AgentError: What it failed or died of.
        """
        self._channel.close()
        self._talk.join(PATIENCE_S)
        self.late = self._talk.is_alive()
        self._worker.kill()
        self._talk.join()
        with self._worker:
            status = self._worker.wait()
        return outcome(status, *self._told)


class Parts:
    """Parts one behind the other: `submit` samples, and `receive` their results in the same order.

    Attributes:
        members: The parts.
        depth: Slots of each link.
        link_bytes: What each link carries of one sample: in front of each part, and behind the last.
    """

    def __init__(self, request: Message) -> None:
        """Start all parts of a request's ``segments``, which load side by side.

        Args:
            request: ``segments`` have each a ``name``, ``model``, ``model_sha256``, ``threads``, ``delegate`` and
                ``minimum_runtime``; ``queue`` is the depth; ``runtime`` and ``kernels`` are those of all.

        Raises:
            AgentError: One cannot be loaded, or died of it.
        """
        segments = request["segments"]
        self.depth: int = request.get("queue") or QUEUE
        self.link_bytes: List[int] = []
        self._links = [link() for _ in range(len(segments) + 1)]
        common = {name: request.get(name) for name in ("nonce", "runtime", "kernels")}
        self.members = [
            Member(segment["name"], dict(segment, **common), self._links[place][1], self._links[place + 1][0])
            for place, segment in enumerate(segments)
        ]
        if not all([member.load() for member in self.members]):
            self._blame()

    @property
    def capacity(self) -> int:
        """How many samples may be under way: one less than there are slots, so that there is one to move on to."""
        return (len(self.members) + 1) * self.depth - 1

    def connect(self, inputs: Sequence[Any], wanted: Sequence[str]) -> None:
        """Connect the parts: the first link brings the tensors `inputs`, the last one those named `wanted`.

        Raises:
            AgentError: A tensor has no fixed size.
        """
        carried = live([member.facts for member in self.members], inputs, wanted)
        self.link_bytes = [sum(map(tensor_bytes, tensors)) for tensors in carried]
        for (sender, _), tensors in zip(self._links, carried):
            os.ftruncate(sender.memory, slot_bytes(tensors) * self.depth)
        for sender, _ in self._links[1:-1]:  # those between two parts
            os.close(sender.memory)
        self._source = Sender(self._links[0][0], carried[0], self.depth)
        self._sink = Receiver(self._links[-1][1], carried[-1], self.depth)
        for place, member in enumerate(self.members):
            member.connect(carried[place], carried[place + 1], self.depth)

    def submit(self, feed: Arrays) -> None:
        """Send a sample in: stored values by tensor name; at most `capacity` may be under way.

        Raises:
            AgentError: A part failed or died, which is named.
        """
        try:
            slot = self._source.slot()
            for name, place in slot.items():
                place[...] = feed[name]
            self._source.send()
        except Gone:
            self._blame()

    def receive(self) -> Arrays:
        """Wait for the next result and return copies of its arrays, by tensor name.

        Raises:
            AgentError: A part failed or died, which is named.
        """
        slot = self._sink.receive()
        if slot is None:
            self._blame()
        result = {name: value.copy() for name, value in cast(Arrays, slot).items()}
        try:
            self._sink.release()
        except Gone:
            self._blame()
        return result

    def end(self) -> List[PartFacts]:
        """End all parts, one behind the other, and return what each has to tell.

        Raises:
            AgentError: One failed at the end.
        """
        self._source.close()
        results = [member.end() for member in self.members]
        kept = ("name", "kernel_profile", "edge_tpu", "load_ns")
        return [
            cast(PartFacts, {**{name: member.facts[name] for name in kept if name in member.facts}, **result})
            for member, result in zip(self.members, results)
        ]

    def _blame(self) -> None:
        """Raise what ended the pipeline: a part's own failure or death, rather than that of one that hung after it.

        Raises:
            AgentError: That, with the part's name.
        """
        for end in (self._links[0][0], self._links[-1][1]):
            end.close()
        found: List[Tuple[bool, AgentError]] = []
        for place, member in enumerate(self.members):
            try:
                member.end()
            except AgentError as error:
                text = "part %d of %d, %s: %s" % (place + 1, len(self.members), member.name, error.message)
                found.append((member.late, AgentError(error.kind, text, **error.details)))
        if not found:
            raise AgentError("internal", "the pipeline ended, though none of its parts failed")
        raise min(found, key=lambda item: item[0])[1]
