"""Verdicts as JUnit XML: what fails, what is skipped, and that no text breaks it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgeopt.pages.junit import Case, cases_of, junit

LINE = {"name": "max_drop", "limit": 0.02, "value": 0.01, "met": True, "bad_end": 0.03, "samples": 100}


def outcome(verdict: str, *, asks: bool = False, **judged: bool) -> str:
    (case,) = cases_of("validate", {"budget": [{**LINE, "verdict": verdict, "proven": asks}]}, **judged)
    return case.outcome


@pytest.mark.parametrize(
    ("verdict", "usual", "proven"),
    [
        ("met", "passed", "passed"),
        ("missed", "failure", "failure"),
        ("not proven", "skipped", "failure"),
        ("not measured", "skipped", "failure"),
    ],
)
def test_a_limit_fails_as_the_exit_code_says(verdict: str, usual: str, proven: str) -> None:
    assert outcome(verdict) == usual
    assert outcome(verdict, proven=True) == outcome(verdict, asks=True) == proven


def test_outputs_that_are_not_the_models_fail() -> None:
    held = {"holds": False, "outputs": [{"name": "y", "reasons": ["3.0 dB of signal to noise, under 15"]}]}
    (case,) = cases_of("validate", {"artifact": "m.tflite", "budget": [], "fidelity": held})
    assert (case.group, case.outcome) == ("m.tflite", "failure") and "3.0 dB" in case.message


def test_a_timing_that_does_not_count_is_skipped_and_fails_where_it_must_count() -> None:
    run = {"threads": 1, "unmeasured": [{"reason": "busy", "detail": "load 3"}], "invalid": []}
    result = {"devices": [{"artifact": "m.tflite", "device": name, "runs": [run]} for name in ("pi", "desk")]}
    assert [(case.group, case.outcome) for case in cases_of("bench", result)] == [
        ("m.tflite on pi", "skipped"),
        ("m.tflite on desk", "skipped"),
    ]
    assert {case.outcome for case in cases_of("bench", result, strict=True)} == {"failure"}


def test_counts_and_texts_are_right_whatever_a_name_holds() -> None:
    cases = [
        Case("a<b>&\"'\x1b\u202e", "max_drop"),
        Case("m", "l", "failure", "]]> \x00"),
        Case("m", "t", "skipped", "busy"),
    ]
    suite = ElementTree.fromstring(junit("validate", cases, {"device": "\x07pi"}))[0]
    assert {name: suite.attrib[name] for name in ("tests", "failures", "skipped", "errors")} == {
        "tests": "3", "failures": "1", "skipped": "1", "errors": "0",
    }  # fmt: skip
    first, second, third = suite.iter("testcase")
    assert first.attrib["classname"].startswith("a<b>&\"'") and len(first) == 0
    assert second[0].tag == "failure" and second[0].attrib["message"].startswith("]]> ")
    assert third[0].tag == "skipped" and third[0].attrib["message"] == "busy"


def test_real_results_have_cases(results: Path) -> None:
    found = {
        verb: {case.name: case.outcome for case in cases_of(verb, json.loads((results / f"{verb}.json").read_text()))}
        for verb in ("validate", "bench", "parity")
    }
    assert found["validate"]["max_size_bytes 9"] == "failure" and found["validate"]["max_drop 0.5"] != "failure"
    assert found["parity"] == {"L1": "passed"} and list(found["bench"]) == ["the timing counts, 1 thread"]


@pytest.mark.parametrize(("more", "named"), [({}, "01-prune"), ({"ladder": {"recommended": "00-int8"}}, "00-int8")])
def test_a_run_is_judged_by_its_last_file_or_by_the_one_it_recommends(more, named: str) -> None:
    stages = [{"name": "00-int8"}, {"name": "01-prune"}]
    (case,) = cases_of("optimize", {"stages": stages, "budget": [{**LINE, "verdict": "met"}], **more})
    assert (case.group, case.outcome) == (named, "passed")
