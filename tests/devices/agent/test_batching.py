"""How many samples at a time, and on how many cores: the rules. (Their effect is shown in `test_device`.)"""

from __future__ import annotations

import pytest

from edgeopt.devices.agent import batching
from edgeopt.devices.agent.batching import MAX_BATCH, REASONS, batch_size

MS = 1_000_000


@pytest.mark.parametrize(
    ("native", "run_ms", "count", "expected"),
    [
        (1, 0.1, 1000, (16, "")),  # short: the full batch
        (1, 5, 1000, (10, "")),  # 10 of them take 50 ms
        (1, 30, 1000, (1, "slow_model")),
        (1, 0.1, 40, (10, "")),  # a quarter of the samples
        (1, 0.1, 7, (1, "few_samples")),
        (3, 0.3, 1000, (15, "")),  # a multiple of the model's own batch
        (64, 0.1, 1000, (64, "large_batch")),
    ],
)
def test_the_batch_is_bounded_by_time_and_by_the_number_of_samples(
    native: int, run_ms: float, count: int, expected: tuple[int, str]
) -> None:
    assert batch_size(native, int(run_ms * MS), count) == expected


def test_every_reason_has_a_meaning() -> None:
    assert set(REASONS) == {
        "few_samples",
        "large_batch",
        "slow_model",
        "stateful",
        "accelerator",
        "fixed_batch",
        "outputs_not_batched",
        "outputs_differ",
        "little_memory",
    }
    assert MAX_BATCH == 16


@pytest.mark.parametrize(
    ("cores", "threads", "pieces", "grown", "available", "expected"),
    [
        (4, 1, 100, 10, 4000, (4, "")),
        (4, 2, 100, 10, 4000, (2, "")),  # threads x interpreters do not exceed the cores
        (4, 8, 100, 10, 4000, (1, "")),
        (4, 1, 3, 10, 4000, (3, "")),  # no more than there is work for
        (4, 1, 100, 500, 4000, (2, "little_memory")),  # a quarter of 4000 holds two of 500
        (4, 1, 100, 5000, 4000, (1, "little_memory")),
        (4, 1, 100, 500, None, (4, "")),  # unknown memory limits nothing
    ],
)
def test_the_interpreters_are_bounded_by_cores_and_memory(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    threads: int,
    pieces: int,
    grown: int,
    available: int | None,
    expected: tuple[int, str],
) -> None:
    monkeypatch.setattr(batching, "cores", lambda: cores)
    monkeypatch.setattr(batching, "memory_bytes", lambda _: available)
    assert batching._workers(threads, pieces, grown) == expected
