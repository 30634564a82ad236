"""`edgeopt.api.optimize.rungs`: which way is tried next, by which line was missed and by how much."""

from __future__ import annotations

import pytest

from edgeopt.api.optimize.rungs import INT8, Climbed, Rung, next_rung
from edgeopt.evaluation.budget import Budget, Evidence
from edgeopt.recipes.convert import ConvertRecipe


def tried(rung, budget, widths=None, **found):
    """A rung whose file has these figures."""
    values = {"drop": 0.0, "p95_ms": 1.0, "size_bytes": 100.0, "memory_bytes": 100.0, **found}
    return Climbed(rung, budget.judge(values), widths or {"conv": 0.5} if rung.kept < 1 else {})


def after(*climbed, may_train=True, may_float=True, failed=()):
    """The next rung, and what was passed over."""
    rung, passed = next_rung(climbed, may_train=may_train, may_float=may_float, failed=failed)
    return rung, {entry.name: entry.reason for entry in passed}


def test_the_first_rung_is_an_int8_file_and_it_is_the_last_where_it_keeps_the_budget():
    budget = Budget(max_drop=0.01, max_p95_ms=2)
    assert after() == (INT8, {})
    assert after(tried(INT8, budget)) == (None, {})


def climb(budget, *, may_train=True, may_float=True, **found):
    """All rungs that are tried while the figures stay, and what was passed over."""
    climbed, passed = [], {}
    while True:
        rung, more = after(*climbed, may_train=may_train, may_float=may_float)
        passed |= more
        if rung is None:
            return [entry.rung for entry in climbed], passed
        climbed.append(tried(rung, budget, **found))


def test_a_drop_is_answered_by_recovery_then_float_operators_then_training_and_channels_are_passed_over():
    rungs, passed = climb(Budget(max_drop=0.01), drop=0.03)
    assert [rung.name for rung in rungs] == ["int8", "recover", "float-ops", "qat"]
    assert rungs[2].convert == {"float_ops": "auto", "max_drop": 0.01, "recover": True}
    assert [table["kind"] for table in rungs[3].passes] == ["qat"]
    assert passed == {"channels": "no limit of time, size or memory is missed"}


def test_what_is_strictly_int8_has_no_float_operators_and_neither_has_a_least_value_of_the_metric():
    rungs, passed = climb(Budget(max_drop=0.01), may_float=False, drop=0.03)
    assert [rung.name for rung in rungs] == ["int8", "recover", "qat"]
    assert passed["float-ops"] == "the file is to be strictly int8 (edges)"
    assert [rung.name for rung in climb(Budget(min_metric=0.9), metric=0.8)[0]] == ["int8", "recover", "qat"]


def test_without_training_data_what_trains_is_passed_over():
    rungs, passed = climb(Budget(max_drop=0.01), may_train=False, drop=0.03)
    assert [rung.name for rung in rungs] == ["int8", "recover", "float-ops"]
    assert passed["qat"] == "it trains, and there are no training data (--train)"


@pytest.mark.parametrize(
    ("limit", "found", "target"),
    [
        ({"max_p95_ms": 1.0}, {"p95_ms": 2.0}, {"latency_share": 0.485}),
        ({"max_size_bytes": 50}, {"size_bytes": 100.0}, {"fraction": 0.515, "of": "bytes"}),
        ({"max_memory_bytes": 80}, {"memory_bytes": 100.0}, {"fraction": 0.224, "of": "bytes"}),
    ],
)
def test_a_cost_is_answered_by_a_cut_as_deep_as_the_limit_asks_for(limit, found, target):
    rung, passed = after(tried(INT8, Budget(max_drop=0.01, **limit), drop=0.2, **found))
    channels, qat = rung.passes
    assert (channels["kind"], qat["kind"]) == ("channels", "qat")
    assert channels.items() >= target.items()
    name = next(iter(limit))
    why = f"max_drop and {name} are missed, which it does not change"
    zeros = f"they make the zip smaller, and {name} counts the file as it is"
    assert passed == {"recover": why, "qat": why, "prune, cluster": zeros}


def cut(kept):
    return Rung(f"channels-{kept}", ({"kind": "channels"},), kept=kept)


def test_a_cut_that_went_too_far_is_followed_by_a_milder_one_and_one_that_did_not_by_a_deeper_one():
    budget = Budget(max_drop=0.01, max_size_bytes=50)
    first = tried(INT8, budget, size_bytes=100.0)
    milder, _ = after(first, tried(cut(0.4), budget, drop=0.05, size_bytes=30.0))
    assert milder.kept == pytest.approx(0.4 + (48.5 - 30) * 0.6 / 70)  # again the line through both files
    both = Budget(max_drop=0.01, max_size_bytes=50, max_memory_bytes=120)
    wide, narrow = {"size_bytes": 100.0, "memory_bytes": 200.0}, {"size_bytes": 30.0, "memory_bytes": 110.0}
    milder, _ = after(tried(INT8, both, **wide), tried(cut(0.4), both, drop=0.05, **narrow))
    assert milder.kept == pytest.approx(0.4 + (0.97 * 120 - 110) * 0.6 / 90)  # the limit that is nearer
    deeper, _ = after(first, tried(cut(0.48), budget, size_bytes=60.0))
    assert deeper.kept == pytest.approx(0.48 - (60 - 48.5) * 0.52 / 40)  # the line through both files
    between, _ = after(
        first, tried(cut(0.4), budget, drop=0.05, size_bytes=40.0), tried(cut(0.7), budget, size_bytes=70.0)
    )
    assert between.kept == pytest.approx(0.7 - (70 - 48.5) * 0.3 / 30)


def test_where_no_cut_is_accurate_enough_the_mildest_that_keeps_the_limits_learns_for_long_from_a_better_teacher():
    budget = Budget(max_drop=0.01, max_size_bytes=50)
    first = tried(INT8, budget, size_bytes=100.0)
    deep, _ = after(first)
    close = tried(deep, budget, widths={"conv": 0.5, "wide": 0.75}, drop=0.05, size_bytes=49.0)
    rung, _ = after(first, close)
    assert (rung.name, rung.kept) == ("student-48", deep.kept)
    teacher, channels, qat = rung.passes
    assert (
        channels.items() >= {"layers": {"conv": 0.5, "wide": 0.75}, "epochs": 12}.items() and "fraction" not in channels
    )
    assert teacher["kind"] == "finetune" and qat == deep.passes[1]
    assert after(first, close, failed=["student-48"])[0] is None
    assert after(first, close, tried(rung, budget, drop=0.02, size_bytes=49.0))[0] is None


def test_a_rung_that_gives_no_file_is_followed_by_the_next():
    first = tried(INT8, Budget(max_drop=0.01), drop=0.03)
    assert after(first, failed=["recover"])[0].name == "float-ops"
    costly = tried(INT8, Budget(max_size_bytes=50))
    assert after(costly, failed=["channels-48"])[0] is None


def test_for_one_scale_a_dense_layer_training_for_8_bits_has_one_too():
    rung = Rung("channels-50", ({"kind": "channels"}, {"kind": "qat"}))
    assert rung.suiting(ConvertRecipe()) is rung
    assert rung.suiting(ConvertRecipe(per_tensor_dense=True)).passes == (
        {"kind": "channels"}, {"kind": "qat", "per_tensor_dense": True}
    )  # fmt: skip


def test_there_are_at_most_three_cuts_and_none_that_hardly_differs_from_another():
    budget = Budget(max_drop=0.01, max_size_bytes=50)
    first = tried(INT8, budget, size_bytes=100.0)
    cuts = [tried(cut(kept), budget, size_bytes=60.0) for kept in (0.5, 0.4, 0.3)]
    assert after(first, *cuts)[0] is None
    assert after(first, tried(cut(0.98), budget, drop=0.05, size_bytes=49.0))[0].name == "student-0.98"


def test_a_limit_that_is_to_be_proven_is_climbed_for_until_it_is():
    unproven = {"drop": Evidence(0.005, bad_end=0.02, samples=100)}
    assert after(tried(INT8, Budget(max_drop=0.01), **unproven))[0] is None
    assert after(tried(INT8, Budget(max_drop=0.01, proven=True), **unproven))[0].name == "recover"
