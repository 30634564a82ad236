"""Verdicts as JUnit XML, the form in which build servers show tests: a case a limit, a level, a timing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from ..errors import printable
from ..evaluation.budget import MET, MISSED, BudgetLine

PASSED, FAILED, SKIPPED = "passed", "failure", "skipped"


@dataclass(frozen=True)
class Case:
    """One thing that was to hold.

    Attributes:
        group: What it was to hold of: the file, and where it was measured.
        name: What was to hold.
        outcome: "passed", "failure", or "skipped" for what was not measured, or is not proven and need not be.
        message: Why it is not passed.
    """

    group: str
    name: str
    outcome: str = PASSED
    message: str = ""


def junit(verb: str, cases: Sequence[Case], facts: Mapping[str, str]) -> bytes:
    """Return a test suite as JUnit XML.

    Args:
        verb: Name of the suite.
        cases: What was to hold.
        facts: Properties of the suite.

    Example:
        >>> b'failures="0"' in junit("validate", [Case("m.tflite", "max_drop")], {})
        True
    """
    counts = {kind: sum(case.outcome == kind for case in cases) for kind in (FAILED, SKIPPED)}
    numbers = {
        "tests": str(len(cases)),
        "failures": str(counts[FAILED]),
        "skipped": str(counts[SKIPPED]),
        "errors": "0",
    }
    root = ElementTree.Element("testsuites", numbers)
    suite = ElementTree.SubElement(root, "testsuite", {"name": f"edgeopt {verb}", **numbers})
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": printable(value)})
    for case in cases:
        item = ElementTree.SubElement(
            suite, "testcase", {"classname": printable(case.group), "name": printable(case.name)}
        )
        if case.outcome != PASSED:
            ElementTree.SubElement(item, case.outcome, {"message": printable(case.message)})
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def cases_of(verb: str, result: Mapping[str, Any], *, proven: bool = False, strict: bool = False) -> list[Case]:
    """Return what was to hold by a result, as ``--json`` of validate, bench, parity or optimize has it.

    Args:
        verb: Which of them.
        result: Its fields; those of several devices lie in "devices".
        proven: Whether a limit that is not proven to be kept has failed; so it has in a budget that asks for proof.
        strict: Whether a timing that does not count has failed.
    """
    parts = result.get("devices") or [result]
    if verb == "bench":
        return [case for part in parts for case in _of_bench(part, strict)]
    if verb == "parity":
        return [case for part in parts for case in _of_parity(part)]
    return [case for part in parts for case in _of_budget(part, proven, strict)]


def _of_budget(part: Mapping[str, Any], proven: bool, strict: bool) -> Iterable[Case]:
    ladder = part.get("ladder") or {}
    stages = part.get("stages") or [{}]
    named = part.get("artifact") or ladder.get("recommended") or stages[-1].get("name") or "the file"
    group = _group(named, part.get("device"))
    for held in part["budget"]:
        line = BudgetLine(**held)
        must = proven or line.proven
        failed = line.verdict == MISSED or (line.verdict != MET and must)
        outcome = FAILED if failed else PASSED if line.verdict == MET else SKIPPED
        yield Case(group, f"{line.name} {line.limit:.15g}", outcome, ": ".join(filter(None, (str(line), line.reason))))
    fidelity = part.get("fidelity") or part.get("baseline_fidelity")
    if fidelity is not None:
        reasons = [f"output {item['name']!r}: {', '.join(item['reasons'])}" for item in fidelity["outputs"]]
        yield Case(group, "the outputs are the model's", PASSED if fidelity["holds"] else FAILED, "; ".join(reasons))
    if "unmeasured" in part:
        yield _timing(group, "the timing counts", part["unmeasured"], strict)


def _of_bench(part: Mapping[str, Any], strict: bool) -> Iterable[Case]:
    group = _group(part.get("artifact") or "the file", part["device"])
    if "pipeline" in part:
        different = part["different_samples"]
        if different is not None:
            message = f"{different} of {part['samples']} samples differ" if different else ""
            yield Case(group, "the results are the whole's", FAILED if different else PASSED, message)
        yield _timing(group, "the timing counts", part["invalid"], strict)
        return
    for run in part["runs"]:
        threads = f"{run['threads']} thread{'' if run['threads'] == 1 else 's'}"
        yield _timing(group, f"the timing counts, {threads}", run["unmeasured"] or run["invalid"], strict)


def _of_parity(part: Mapping[str, Any]) -> Iterable[Case]:
    sides = " and ".join(side["device"] for side in part["sides"])
    message = f"outputs up to {part['max_lsb']} LSB apart; {part['explanation']}"
    yield Case(
        _group(part.get("artifact") or "the file", sides), part["level"], PASSED if part["held"] else FAILED, message
    )


def _timing(group: str, name: str, flaws: Sequence[Mapping[str, str]], strict: bool) -> Case:
    message = "; ".join(f"{flaw['reason']}: {flaw['detail']}" for flaw in flaws)
    return Case(group, name, PASSED if not flaws else FAILED if strict else SKIPPED, message)


def _group(artifact: str, where: str | None) -> str:
    return artifact if where is None else f"{artifact} on {where}"
