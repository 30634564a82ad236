"""The honest report: what changed is said with its factor, what did not is said too."""

from __future__ import annotations

import inspect
import json

from edgeopt.api.optimize.compression import Change, compression_report, overall_change
from edgeopt.api.optimize.result import Stage
from edgeopt.artifact.artifact import Artifact


def turns(ratio, low, high, unmeasured=()):
    return {"ratio": ratio, "ratio_ci95": [low, high], "unmeasured": list(unmeasured)}


SAME = turns(1.0, 0.98, 1.02)


def stage(name, kind, size, zipped, macs, p50, *, sparsity=0.0, width=0.001, in_turns=SAME):
    latency = None if p50 is None else {"p50": p50, "p50_ci95": [p50 - width, p50 + width]}
    figures = {"size_bytes": size, "gzip_bytes": zipped, "macs": macs, "latency_ms": latency, "sparsity": sparsity}
    figures |= {"against_previous": in_turns, "against_original": in_turns}
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
        "changed the zipped size to 0.36x, left the raw size and the MACs as before, showed no difference in the latency "
        "here: 1.000x (timed in turns, 95 % interval 0.980 to 1.020)"
    )
    assert found.note == "What it buys."
    values = json.loads(json.dumps(found.to_dict()))
    assert values["sparsity"] == {"before": 0.0, "after": 0.8}
    assert values["gzip_bytes"] == {
        "before": 70_000,
        "after": 25_000,
        "changed": True,
        "ratio": None,
        "ratio_ci95": None,
    }


def test_removed_channels_change_all_four():
    found = entry(stage("01-channels", "channels", 25_000, 20_000, 500, 0.12, in_turns=turns(0.3, 0.28, 0.33)))
    assert all(changed(found))
    assert "the latency here to 0.300x (timed in turns, 95 % interval 0.280 to 0.330)" in found.summary


def test_a_latency_changed_when_the_turns_say_so_and_not_when_two_timings_do():
    """Two timings said 0.73x, where turns say 0.945 (0.870 to 0.959)."""
    found = entry(stage("01-qat", "qat", 80_000, 70_000, 1000, 0.73 * 0.40, in_turns=turns(0.945, 0.870, 0.959)))
    assert found.latency_ms.changed and found.latency_ms.ratio == 0.945
    assert "the latency here to 0.945x (timed in turns, 95 % interval 0.870 to 0.959)" in found.summary
    assert "0.73" not in found.summary
    assert not changed(entry(stage("01-qat", "qat", 80_000, 70_000, 1000, 0.73 * 0.40)))[3]


def test_without_turns_or_on_an_emulated_board_nothing_is_claimed():
    emulated = turns(0.5, 0.4, 0.6, [{"reason": "emulated", "detail": ""}])
    for told in (None, emulated):
        found = entry(stage("01-qat", "qat", 80_000, 70_000, 1000, 0.2, in_turns=told))
        assert not found.latency_ms.changed and "latency" not in found.summary


def test_no_fixed_sentence_contradicts_the_figures_beside_it():
    """Printed before: "changed the latency here to 2.42x. The file has the speed of any int8 file"."""
    slower = entry(stage("01-prune", "prune", 80_000, 25_000, 1000, 0.97, in_turns=turns(2.42, 2.3, 2.5)))
    assert "What it buys." not in slower.note
    assert slower.note.startswith("prune by itself leaves the latency here as before")
    nothing_cut = entry(stage("01-channels", "channels", 80_000, 70_000, 1000, 0.40))
    assert nothing_cut.note == ""
    from edgeopt.passes.qat.report import QatReport

    assert "speed" not in QatReport.note.fget.__doc__ and "any int8 file" not in inspect.getsource(QatReport)


def test_the_whole_run_has_a_line_from_the_original_to_the_last_file():
    last = stage("02-qat", "qat", 30_000, 20_000, 400, 0.2, in_turns=turns(0.5, 0.45, 0.55))
    found = overall_change([ORIGINAL, stage("01-channels", "channels", 40_000, 30_000, 500, 0.3), last])
    assert found.stage == "00-original to 02-qat" and found.note == ""
    assert found.size_bytes == Change(80_000, 30_000, changed=True) and found.latency_ms.ratio == 0.5
    assert overall_change([ORIGINAL]) is None


def test_names_and_metadata_in_a_file_are_no_change_of_size():
    assert not entry(stage("01-qat", "qat", 80_700, 70_500, 1000, 0.4)).size_bytes.changed
    assert entry(stage("01-qat", "qat", 81_000, 70_500, 1000, 0.4)).size_bytes.changed


def test_nothing_changed_is_said_in_so_many_words():
    assert entry(stage("01-finetune", "finetune", 80_000, 70_000, 1000, 0.4)).summary.startswith(
        "left the raw size, the zipped size and the MACs as before, showed no difference in the latency here"
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
