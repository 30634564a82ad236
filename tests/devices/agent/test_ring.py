"""Handing tensors over: what is sent is what is received, in order, and no more waits than there are slots."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

from edgeopt.devices.agent.protocol import AgentError
from edgeopt.devices.agent.ring import Ends, Gone, Receiver, Sender, link, slot_bytes, tensor_bytes
from edgeopt.devices.agent.segment import live

A: Any = {"tensor_name": "a", "dtype": "int8", "shape": [1, 3]}
B: Any = {"tensor_name": "b", "dtype": "float32", "shape": [2, 2]}


def ring(depth: int = 2) -> tuple[Sender, Receiver]:
    sender, receiver = link()
    os.ftruncate(sender.memory, slot_bytes([A, B]) * depth)
    own = Ends(os.dup(receiver.memory), receiver.send, receiver.receive)
    return Sender(sender, [A, B], depth), Receiver(own, [A, B], depth)


def put(sender: Sender, number: int) -> None:
    slot = sender.slot()
    slot["a"][...], slot["b"][...] = number, number / 2
    sender.send()


def test_tensors_arrive_by_name_and_in_order_and_a_full_queue_makes_the_sender_wait() -> None:
    sender, receiver = ring(depth=2)
    sent: list[int] = []

    def send_all() -> None:
        for number in range(5):
            put(sender, number)
            sent.append(number)

    thread = threading.Thread(target=send_all, daemon=True)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive() and sent == [0, 1]
    for number in range(5):
        found = receiver.receive()
        assert found is not None
        assert found["a"].dtype == np.int8 and (found["a"] == number).all() and (found["b"] == number / 2).all()
        receiver.release()
    thread.join(5)
    assert sent == [0, 1, 2, 3, 4]


def test_an_end_that_is_gone_is_noticed_on_both_sides() -> None:
    sender, receiver = ring()
    sender.close()
    assert receiver.receive() is None
    with pytest.raises(Gone):
        receiver.release()
    sender, receiver = ring()
    receiver.close()
    sender.slot()
    with pytest.raises(Gone):
        sender.send()


def test_what_has_no_fixed_size_is_refused() -> None:
    with pytest.raises(AgentError, match="cannot be handed from process to process"):
        tensor_bytes({"tensor_name": "text", "dtype": "object", "shape": [1]})


def test_a_tensor_passes_the_parts_that_do_not_read_it() -> None:
    def part(reads: str, writes: str) -> Any:
        return {
            side: [{"tensor_name": name} for name in names] for side, names in (("inputs", reads), ("outputs", writes))
        }

    links = live([part("x", "ab"), part("b", "c"), part("acy", "d")], [{"tensor_name": name} for name in "xy"], "db")
    assert [sorted(tensor["tensor_name"] for tensor in tensors) for tensors in links] == [
        ["x", "y"], ["a", "b", "y"], ["a", "b", "c", "y"], ["b", "d"]
    ]  # fmt: skip
