"""The contract that every pass shares."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edgeopt.errors import DataError, UsageError
from edgeopt.passes.base import Pass, PassReport, PassResult, check_needs
from edgeopt.training.context import PassContext, Skipped
from edgeopt.training.options import Training


@dataclass(frozen=True)
class Report:
    skipped: tuple[Skipped, ...] = ()
    note: str = "Nothing."

    def to_dict(self):
        return {"skipped": [entry.to_dict() for entry in self.skipped]}


@dataclass(frozen=True)
class Identity(Pass):
    """The smallest pass there is."""

    needs: tuple[str, ...] = ()
    name: str = "identity"

    def apply(self, model, context):
        check_needs(self, context)
        return PassResult(model, Report((Skipped("dense", "nothing-to-do"),)))


def test_a_pass_hands_back_a_model_and_a_report_of_what_it_left():
    assert isinstance(Report(), PassReport)
    result = Identity().apply("model", PassContext())
    assert (result.model, result.exported) == ("model", "model")
    assert PassResult("model", Report(), "other").exported == "other"
    assert result.report.to_dict() == {"skipped": [{"subject": "dense", "reason": "nothing-to-do", "detail": ""}]}


def test_missing_data_is_a_data_error_that_says_how_to_give_it():
    with pytest.raises(DataError, match=r"Pass 'identity' needs training data .* give it as train="):
        Identity(("train",)).apply("model", PassContext())


def test_a_missing_callable_is_a_usage_error():
    with pytest.raises(UsageError, match=r"needs a function that measures .tflite bytes on the device .* measure="):
        Identity(("measure",)).apply("model", PassContext(train=[1.0]))


def test_what_is_given_is_not_complained_about():
    assert Identity(("train",)).apply("model", PassContext(train=[1.0])).model == "model"


def test_data_are_needed_by_a_training_of_its_own_and_by_no_other():
    class Trains(Pass):
        def __init__(self, training):
            self.training = training

        def apply(self, model, context):
            return PassResult(model, Report())

    asked = [Trains(training).needs for training in (None, Training(epochs=0), Training(epochs=1))]
    assert asked == [(), (), ("train",)]
