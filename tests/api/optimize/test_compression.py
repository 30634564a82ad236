"""The honest report: what changed is said with its factor, what did not is said too."""

from __future__ import annotations

import json

from edgeopt.api.optimize.compression import Change, compression_report
from edgeopt.api.optimize.result import Stage
from edgeopt.artifact.artifact import Artifact


def stage(name, kind, size, zipped, macs, p50, *, sparsity=0.0, width=0.001):
    latency = None if p50 is None else {"p50": p50, "p50_ci95": [p50 - width, p50 + width]}
    figures = {"size_bytes": size, "gzip_bytes": zipped, "macs": macs, "latency_ms": latency, "sparsity": sparsity}
    return Stage(name, kind, None, Artifact(b""), figures, note="What it buys.")


ORIGINAL = stage("00-original", "original", 80_000, 70_000, 1000, 0.40)


def entry(after):
    return compression_report([ORIGINAL, after])[0]


def changed(found):
    return [measure.changed for measure in (found.size_bytes, found.gzip_bytes, found.macs, found.latency_ms)]


def test_zeros_change_the_zip_and_nothing_else():
    found = entry(stage("01-prune", "prune", 80_000, 25_000, 1000, 0.401, sparsity=0.8))
    assert changed(found) == [
        False, True, False, False,
    ]  # fmt: skip
    assert found.summary == (
        "changed the zipped size to 0.36x, left the raw size, the MACs and the latency here as before"
    )
    assert found.note == "What it buys."
    values = json.loads(json.dumps(found.to_dict()))
    assert values["sparsity"] == {"before": 0.0, "after": 0.8}
    assert values["gzip_bytes"] == {"before": 70_000, "after": 25_000, "changed": True}


def test_removed_channels_change_all_four():
    found = entry(stage("01-channels", "channels", 25_000, 20_000, 500, 0.12))
    assert all(changed(found))
    assert "the latency here to 0.30x" in found.summary


def test_a_latency_changed_only_when_the_intervals_do_not_overlap():
    assert entry(stage("01-qat", "qat", 80_000, 70_000, 1000, 0.44, width=0.03)).latency_ms.changed
    assert not entry(stage("01-qat", "qat", 80_000, 70_000, 1000, 0.44, width=0.05)).latency_ms.changed


def test_names_and_metadata_in_a_file_are_no_change_of_size():
    assert not entry(stage("01-qat", "qat", 80_700, 70_500, 1000, 0.4)).size_bytes.changed
    assert entry(stage("01-qat", "qat", 81_000, 70_500, 1000, 0.4)).size_bytes.changed


def test_nothing_changed_is_said_in_so_many_words():
    assert entry(stage("01-finetune", "finetune", 80_000, 70_000, 1000, 0.4)).summary == (
        "changed nothing of the file's cost"
    )


def test_a_file_that_was_not_timed_makes_no_claim_about_latency():
    found = entry(stage("01-prune", "prune", 80_000, 25_000, 1000, None))
    assert found.latency_ms == Change(None, None, changed=False)
    assert "latency" not in found.summary


def test_sparse_kernels_are_told_with_what_they_cost_in_memory():
    sparse = stage("01-prune", "prune", 45_000, 25_000, 1000, 0.40)
    sparse.figures.update({"densify_ops": 3, "expanded_weight_bytes": 70_000})
    assert entry(sparse).note.endswith(
        "3 DENSIFY operators expand them to 70,000 bytes of memory when the file is loaded."
    )
    assert "DENSIFY" not in entry(stage("01-prune", "prune", 45_000, 25_000, 1000, 0.40)).note
