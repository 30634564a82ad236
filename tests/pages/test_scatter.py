"""The picture of what accuracy costs: who is on the frontier, and where things are drawn."""

from __future__ import annotations

import pytest

from edgeopt.pages.scatter import HEIGHT, WIDTH, Point, scatter, unbeaten

SOME = [Point("a", 1.0, 0.9), Point("b", 2.0, 0.95), Point("c", 3.0, 0.94), Point("d", 1.0, 0.8)]


def test_who_costs_more_and_is_no_better_is_beaten() -> None:
    assert unbeaten(SOME) == {0, 1}


def test_of_a_metric_of_errors_less_is_better() -> None:
    assert unbeaten(SOME, higher=False) == {3}


def test_equal_points_beat_neither() -> None:
    assert unbeaten([Point("a", 1.0, 1.0), Point("b", 1.0, 1.0)]) == {0, 1}


def test_more_is_up_and_costs_go_right() -> None:
    a, b, *_ = scatter("t", ("ms", "accuracy"), SOME).points
    assert a.x < b.x and a.y > b.y


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("count", [1, 2, 12])
def test_everything_is_inside_and_labels_do_not_meet(scale: float, count: int) -> None:
    points = [
        Point(f"file {n}", scale * (1 + n % 3), 0.9 - n / 100, (scale * 0.9, scale * 3), (0.7, 1)) for n in range(count)
    ]
    made = scatter("t", ("ms", "accuracy"), points)
    for drawn in made.points:
        assert made.left <= drawn.x <= made.right and made.top <= drawn.y <= made.bottom
        assert 0 <= drawn.label_x <= WIDTH and 0 <= drawn.label_y <= HEIGHT
    assert len({(drawn.label_x, drawn.label_y) for drawn in made.points}) == count
    assert 2 <= len(made.x_ticks) <= 12 and 2 <= len(made.y_ticks) <= 12


def test_costs_of_very_different_size_have_a_logarithmic_axis() -> None:
    made = scatter("t", ("ms", "accuracy"), [Point("a", 0.1, 0.5), Point("b", 1.0, 0.6), Point("c", 10.0, 0.7)])
    a, b, c = made.points
    assert b.x - a.x == pytest.approx(c.x - b.x)
    assert {"0.1", "1", "10"} <= {tick.text for tick in made.x_ticks}
