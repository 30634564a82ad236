"""How far each group is cut: multiples, the target hit within one step, and the greedy choice."""

from __future__ import annotations

import importlib
import itertools

import numpy as np
import pytest

from edgeopt.models.graph.rebuild import read_native
from edgeopt.passes.channels.allocation import Ladder, allocate_globally, allocate_uniformly, widths
from edgeopt.passes.channels.cost import CostModel
from edgeopt.passes.channels.dependencies import Group, analyse


def group(units, width=1, stride=1, name="layer"):
    return Group(name, (name,), np.arange(units), width, stride, None)


@pytest.mark.parametrize(
    ("units", "width", "stride", "multiple", "minimum", "expected"),
    [
        (32, 1, 1, 8, 8, [32, 24, 16, 8]),
        (20, 1, 1, 8, 8, [20, 16, 8]),  # what is not cut may keep an odd count
        (32, 1, 1, 8, 20, [32, 24]),
        (6, 1, 1, 8, 8, [6]),
        (5, 1, 1, 1, 2, [5, 4, 3, 2]),
        (8, 4, 4, 8, 8, [8, 6, 4, 2]),  # units of 4 channels: an even number of them
        (8, 8, 8, 8, 8, [8, 7, 6, 5, 4, 3, 2, 1]),
    ],
)
def test_widths_are_multiples_of_channels_down_to_the_minimum(units, width, stride, multiple, minimum, expected):
    assert widths(group(units, width, stride), multiple, minimum) == expected


def linear(*prices):
    return lambda counts: counts @ np.asarray(prices, dtype=np.float64)


def test_what_does_not_matter_goes_first():
    scores = [np.ones(32), np.concatenate([np.ones(8), np.zeros(24)])]
    ladder = Ladder([group(32), group(32)], scores, 8, 8)
    assert allocate_globally(ladder, linear(1, 1), 48).tolist() == [32, 16]


def test_groups_of_equal_price_are_thinned_in_proportion():
    ladder = Ladder([group(64), group(32)], [np.ones(64), np.ones(32)], 8, 8)
    assert allocate_globally(ladder, linear(1, 1), 72).tolist() == [40, 32]
    assert allocate_globally(ladder, linear(1, 1), 56).tolist() == [32, 24]


def test_the_dear_group_is_cut_first():
    ladder = Ladder([group(32), group(32)], [np.ones(32), np.ones(32)], 8, 8)
    assert allocate_globally(ladder, linear(10, 1), 320).tolist() == [24, 32]


def test_several_small_steps_beat_a_big_one_that_overshoots():
    """Halving 16 dear channels reaches the target at once, but loses more than an eighth of 64 and a quarter of 32."""
    ladder = Ladder([group(16), group(32), group(64)], [np.ones(16), np.ones(32), np.ones(64)], 8, 8)
    assert allocate_globally(ladder, linear(10, 2, 1), 16 * 10 + 24 * 2 + 56).tolist() == [16, 24, 56]


def test_without_normalisation_the_scores_count_as_they_are():
    scores = [np.full(16, 0.1), np.full(16, 10.0)]
    relative, absolute = (Ladder([group(16)] * 2, scores, 8, 8, normalise=choice) for choice in (True, False))
    assert allocate_globally(absolute, linear(1, 1.1), 26).tolist() == [8, 16]
    assert allocate_globally(relative, linear(1, 1.1), 26).tolist() == [16, 8]


@pytest.mark.parametrize("prices", [(1.0, 1.0), (5.0, 0.1), (0.1, 5.0)])
@pytest.mark.parametrize("share", [0.75, 0.5, 0.25])
def test_the_greedy_choice_is_near_the_best_of_all_choices(prices, share):
    """Against all combinations of three widths, for a cost that is a product of widths as that of a chain of layers."""

    def cost(counts):
        return prices[0] * counts[:, 0] * counts[:, 1] + prices[1] * counts[:, 1] * counts[:, 2] + counts.sum(axis=1)

    def loss(counts):
        return float(np.sum(64 / counts))

    ladder = Ladder([group(64)] * 3, [np.ones(64)] * 3, 8, 8)
    limit = share * cost(np.full((1, 3), 64))[0]
    choices = np.asarray(list(itertools.product(range(8, 65, 8), repeat=3)))
    best = min(loss(counts) for counts, price in zip(choices, cost(choices), strict=True) if price <= limit)
    # Greedy is not exact; a tenth of the loss is less than one step of 8 in the narrowest layer.
    assert loss(allocate_globally(ladder, cost, limit)) <= 1.1 * best


def test_fixed_groups_stay_where_they_are_put():
    ladder = Ladder([group(32), group(32)], [np.ones(32), np.ones(32)], 8, 8)
    assert allocate_globally(ladder, linear(1, 1), 48, {0: 3}).tolist() == [8, 32]
    assert allocate_uniformly(ladder, linear(1, 1), 48, {0: 0}).tolist() == [32, 16]


def test_an_unreachable_limit_gives_the_least():
    ladder = Ladder([group(32), group(16)], [np.ones(32), np.ones(16)], 8, 8)
    assert allocate_globally(ladder, linear(1, 1), 3).tolist() == [8, 8]


def test_uniform_keeps_one_share():
    ladder = Ladder([group(64), group(32), group(16)], [np.ones(64), np.ones(32), np.ones(16)], 8, 8)
    assert allocate_uniformly(ladder, linear(1, 1, 1), 56).tolist() == [32, 16, 8]


@pytest.mark.parametrize("allocate", [allocate_globally, allocate_uniformly])
@pytest.mark.parametrize("measure", ["macs", "params", "bytes"])
@pytest.mark.parametrize("family", ["u_net", "cnn_1d", "squeeze_excite", "grouped"])
def test_targets_are_hit_within_one_step_of_any_group(build, family, measure, allocate):
    """Reached, and giving any group one step back would miss it: no closer choice is one step away."""
    channel_map = analyse(read_native(build(family, importlib.import_module("keras"))))
    groups = [group for group in channel_map.groups if group.block is None and len(widths(group, 8, 8)) > 1]
    generator = np.random.default_rng(2)
    ladder = Ladder(groups, [generator.random(len(group.units)) for group in groups], 8, 8)
    cost = CostModel(channel_map, groups, measure)
    for fraction in (0.1, 0.3, 0.45):
        limit = (1 - fraction) * cost.total
        counts = allocate(ladder, cost.of, limit)
        assert cost.of(counts[np.newaxis])[0] <= limit
        for index, (count, rungs) in enumerate(itertools.zip_longest(counts, ladder.rungs)):
            place = rungs.index(count)
            if place:
                back = counts.copy()
                back[index] = rungs[place - 1]
                assert cost.of(back[np.newaxis])[0] > limit
