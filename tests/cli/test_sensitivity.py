"""``edgeopt sensitivity`` on a terminal: what fits, and that nothing of it is broken."""

from __future__ import annotations

import pytest
from rich.console import Console

from edgeopt.cli.sensitivity import _print
from edgeopt.evaluation.sensitivity import OperatorSensitivity, SensitivityReport


@pytest.mark.parametrize(
    ("width", "layer", "ranges"),
    [(80, "block_3", False), (100, "block_3", True), (100, "layer_normalization_3", False)],
)
def test_a_row_is_a_line_and_ranges_are_there_where_they_have_room(monkeypatch, capsys, width, layer, ranges):
    row = OperatorSensitivity(
        "DEPTHWISE_CONV_2D", 128, layer, "t", 0.25, 0.5, 25.0, 27.4, 25.1, 20.8, -14.5, 14.9, 1.0, 0.0,
        remedy="float", advice="leave it float",
    )  # fmt: skip
    monkeypatch.setattr("edgeopt.cli.sensitivity.console", lambda: Console(width=width, highlight=False))
    _print(SensitivityReport(20.5, "ok", 50, True, "percentile", (row,)), all_rows=False)
    found = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    between = "-14.5 to 14.9 " if ranges else ""
    assert f"128 DEPTHWISE_CONV_2D {layer} 25.0% 50.0% 25.0 27.4 25.1 20.8 {between}float" in found
