"""The contract that every pass shares."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edgeopt.errors import DataError, UsageError
from edgeopt.passes.base import Pass, PassResult, check_needs
from edgeopt.training.context import PassContext, Skipped


@dataclass(frozen=True)
class Report:
    skipped: tuple[Skipped, ...] = ()

    def to_dict(self):
        return {"skipped": [entry.to_dict() for entry in self.skipped]}


@dataclass(frozen=True)
class Identity:
    """The smallest pass there is."""

    needs: tuple[str, ...] = ()
    name: str = "identity"

    def apply(self, model, context):
        check_needs(self, context)
        return PassResult(model, Report((Skipped("dense", "nothing-to-do"),)))


def test_a_pass_hands_back_a_model_and_a_report_of_what_it_left():
    assert isinstance(Identity(), Pass)
    result = Identity().apply("model", PassContext())
    assert result.model == "model"
    assert result.report.to_dict() == {"skipped": [{"subject": "dense", "reason": "nothing-to-do", "detail": ""}]}


def test_missing_data_is_a_data_error_that_says_how_to_give_it():
    with pytest.raises(DataError, match=r"Pass 'identity' needs training data .* give it as train="):
        Identity(("train",)).apply("model", PassContext())


def test_a_missing_callable_is_a_usage_error():
    with pytest.raises(UsageError, match=r"needs a function that measures .tflite bytes on the device .* measure="):
        Identity(("measure",)).apply("model", PassContext(train=[1.0]))


def test_what_is_given_is_not_complained_about():
    assert Identity(("train",)).apply("model", PassContext(train=[1.0])).model == "model"
