"""Labels: what is tied goes together, what is frozen stays, and a unit tells its first reason."""

from __future__ import annotations

import numpy as np

from edgeopt.passes.channels.labels import LabelTable, Reason


def test_fresh_labels_are_units_of_their_own():
    table = LabelTable()
    table.fresh(3)
    units, frozen = table.units()
    assert units.tolist() == [0, 1, 2]
    assert frozen == {}


def test_tied_labels_are_one_unit_through_any_chain_of_ties():
    table = LabelTable()
    first, second, third = table.fresh(2), table.fresh(2), table.fresh(2)
    table.tie(second, third)
    table.tie(first, second[::-1])
    units, _ = table.units()
    assert units[first[0]] == units[second[1]] == units[third[1]]
    assert units[first[1]] == units[second[0]] == units[third[0]]
    assert units[first[0]] != units[first[1]]


def test_freezing_one_label_freezes_all_that_is_tied_to_it_even_later():
    table = LabelTable()
    first, second = table.fresh(2), table.fresh(2)
    table.freeze(first[:1], Reason.RESHAPE, "'flat'")
    table.tie(first, second)
    units, frozen = table.units()
    assert list(frozen) == [units[second[0]]]
    assert frozen[int(units[second[0]])].reason is Reason.RESHAPE


def test_the_first_block_is_told_and_a_block_can_be_put_first():
    table = LabelTable()
    labels = table.fresh(1)
    table.freeze(labels, Reason.SOFTMAX, "activation")
    table.freeze(labels, Reason.AXES, "later")
    table.freeze(labels, Reason.MODEL_OUTPUT, "output", first=True)
    _, frozen = table.units()
    assert frozen[0].reason is Reason.MODEL_OUTPUT


def test_repeated_labels_may_be_tied_at_once():
    table = LabelTable()
    wide, narrow = table.fresh(2), table.fresh(2)
    table.tie(np.tile(wide, 3), np.tile(narrow, 3))
    assert len(set(table.units()[0].tolist())) == 2
