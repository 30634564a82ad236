"""Checkers by name."""

from __future__ import annotations

import pytest

from edgeopt.check import CHECKERS, CheckItem, CheckResult, checker
from edgeopt.converters.accelerator import ACCELERATORS
from edgeopt.errors import UsageError


def test_every_accelerator_has_a_checker():
    assert set(ACCELERATORS) <= set(CHECKERS)
    for name in ("edgetpu", "ethos-u85-2048"):
        assert checker(name).stage == name


def test_an_unknown_target_lists_the_nearest():
    with pytest.raises(UsageError, match="Unknown target 'edge-tpu' for check; did you mean 'edgetpu'"):
        checker("edge-tpu")


def test_options_must_go_with_the_target():
    with pytest.raises(
        UsageError, match="option minimum_runtime does not go with the target 'ethos-u55-128'; it takes none"
    ):
        checker("ethos-u55-128", {"minimum_runtime": 13})
    with pytest.raises(UsageError, match=r"option minimum_runtim does not go .* did you mean 'minimum_runtime'"):
        checker("edgetpu", {"minimum_runtim": 13})
    with pytest.raises(UsageError, match="minimum_runtime is 3; expected 10 to 14"):
        checker("edgetpu", {"minimum_runtime": 3})
    assert checker("ethos-u55-128", {"minimum_runtime": None}).stage == "ethos-u55-128"


def test_items_and_results_as_json():
    item = CheckItem("a", "Dense", "edgetpu", "refused", "r", "why", "do", {"index": 3})
    assert item.to_dict() == {
        **{"name": "a", "class": "Dense", "stage": "edgetpu", "verdict": "refused", "rule": "r"},
        **{"reason": "why", "remedy": "do", "index": 3},
    }
    result = CheckResult((item, CheckItem("b", "ReLU", "edgetpu", "ok")))
    assert result.verdicts == {"ok": 1, "skipped": 0, "refused": 1, "unsure": 0}
    assert result.refusals == (item,)
